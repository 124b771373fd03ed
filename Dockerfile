# All of sesmail's programs in one image; docker-compose.yml says which of them a container runs.
FROM python:3.13-slim AS build
WORKDIR /source
COPY pyproject.toml constraints.txt README.md ./
COPY sesmail sesmail
COPY seslocal seslocal
ARG EXTRAS=flower,simulator
RUN python -m venv /opt/sesmail \
 && /opt/sesmail/bin/pip install --no-cache-dir --constraint constraints.txt ".[$EXTRAS]"

FROM python:3.13-slim
RUN useradd --system --no-create-home --uid 900 sesmail \
 && install --directory --owner=sesmail /app/beat
COPY --from=build /opt/sesmail /opt/sesmail
ENV PATH=/opt/sesmail/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# A celeryconfig.py mounted here overrides the defaults of sesmail's Celery app.
WORKDIR /app
USER sesmail
CMD ["celery", "-A", "sesmail", "worker"]
