#!/bin/sh
# Makes sesmail-lambda.zip for the reader `lambda` of ses-events.yaml, from this checkout, for Lambda's x86_64 Linux:
#   sh deploy/package-lambda.sh && aws s3 cp sesmail-lambda.zip s3://BUCKET/
set -eu
checkout=$(cd "$(dirname "$0")/.." && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" --python-version 3.13 --platform manylinux2014_x86_64 \
    --only-binary=:all: "$checkout"
# Lambda brings boto3 and botocore, the largest part.
rm -rf "$folder"/boto3* "$folder"/botocore* "$folder"/s3transfer* "$folder"/bin
(cd "$folder" && python3 -m zipfile -c sesmail-lambda.zip ./*)
mv "$folder/sesmail-lambda.zip" .
