"""Real servers for the event stores: each is started here, or skipped with the reason where there is none; and memory."""

from __future__ import annotations

import logging
import os
import threading
from uuid import uuid4

import boto3
import pytest
import sqlalchemy as sa
from moto.dynamodb.models import DynamoDBBackend
from moto.server import ThreadedMotoServer

from sesmail.events.stores.dynamodb import WRITE_CONFIG, DynamoDbEventStore
from sesmail.events.stores.memory import MemoryEventStore
from sesmail.events.stores.redis import RedisEventStore
from sesmail.events.stores.sql import SqlEventStore
from tests.services import absent

POSTGRES = os.environ.get("TEST_POSTGRES_URL", "postgresql+psycopg://postgres@127.0.0.1:5432/test")


@pytest.fixture(scope="session")
def postgres_schema():
    """A schema of our own in the local server, dropped afterwards."""
    admin = sa.create_engine(POSTGRES, connect_args={"connect_timeout": 2}, isolation_level="AUTOCOMMIT")
    schema = f"sesmail_{uuid4().hex}"
    try:
        with admin.connect() as connection:
            connection.execute(sa.text(f"CREATE SCHEMA {schema}"))
    except sa.exc.OperationalError:
        admin.dispose()
        absent("no PostgreSQL on 127.0.0.1:5432 (TEST_POSTGRES_URL names another one)")
    yield schema
    with admin.connect() as connection:
        connection.execute(sa.text(f"DROP SCHEMA {schema} CASCADE"))
    admin.dispose()


@pytest.fixture(scope="session")
def aws_url():
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(DynamoDBBackend, "update_item", _one_at_a_time(DynamoDBBackend.update_item))
        yield from _started()


def _one_at_a_time(update):
    """DynamoDB looks at a condition and writes in one act; two threads of moto's may both find that it holds."""
    lock = threading.Lock()

    def locked(*arguments, **more):
        with lock:
            return update(*arguments, **more)

    return locked


def _started():
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="session")
def aws(aws_url):
    """Clients of the local AWS, by service."""
    session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name="us-east-1")

    def client(service: str, **options):
        return session.client(service, **{"endpoint_url": aws_url, **options})

    return client


@pytest.fixture
def redis_store(scripts):
    return RedisEventStore(scripts)


@pytest.fixture
def sqlite_store(tmp_path):
    store = SqlEventStore(f"sqlite:///{tmp_path}/events.db")
    store.create_table()
    yield store
    store.engine.dispose()


@pytest.fixture
def postgresql_store(postgres_schema):
    engine = sa.create_engine(POSTGRES, connect_args={"options": f"-csearch_path={postgres_schema}"})
    store = SqlEventStore(engine, table=f"events_{uuid4().hex[:8]}")
    store.create_table()
    yield store
    engine.dispose()


@pytest.fixture(scope="session")
def dynamodb_client(aws):
    client = aws("dynamodb", config=WRITE_CONFIG)
    yield client
    client.close()


@pytest.fixture
def dynamodb_store(dynamodb_client):
    store = DynamoDbEventStore(dynamodb_client, f"events-{uuid4().hex}")
    store.create_table()
    return store


@pytest.fixture
def memory_store():
    return MemoryEventStore()


@pytest.fixture(params=["redis", "sqlite", "postgresql", "dynamodb", "memory"])
def store(request):
    """Each of the stores in turn."""
    return request.getfixturevalue(f"{request.param}_store")
