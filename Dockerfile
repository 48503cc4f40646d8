# The service in a container: `provisioner worker` by default, any other command of it as the argument.

FROM python:3.11-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /build
COPY requirements.txt requirements-dev.txt ./
# The build backend comes with its hash too, out of the lock for development. Nothing of /tools goes into the image.
RUN python -m venv /tools && /tools/bin/pip install --require-hashes --only-binary :all: -r requirements-dev.txt
RUN python -m venv /venv && /venv/bin/pip install --require-hashes --only-binary :all: -r requirements.txt
COPY pyproject.toml README.md ./
COPY statemachine statemachine
COPY seeders seeders
COPY consumer consumer
COPY ops ops
RUN /tools/bin/pip wheel --no-deps --no-build-isolation --wheel-dir dist . \
    && /venv/bin/pip install --no-deps dist/*.whl

FROM python:3.11-slim-bookworm
# A number, so that a cluster can see that it is not root; a name, because `provisioner` writes down who asked.
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin provisioner
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001
WORKDIR /tmp
# Whether the worker is ready: registered at RabbitMQ, PostgreSQL takes its writes, the schema is there. Who restarts
# containers should ask /livez instead: a worker outlives an outage by itself, and a restart would only cost it its
# connections.
ENV PROVISIONER_HTTP_PORT=9464
HEALTHCHECK --interval=30s --timeout=10s --start-period=10s --retries=3 CMD ["provisioner", "ready"]
ENTRYPOINT ["provisioner"]
CMD ["worker"]
