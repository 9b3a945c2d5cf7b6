# One image for every part: alone it runs all of them (manage.py up), docker-compose.yml runs each in a container.
FROM python:3.11-slim AS build

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
COPY requirements.txt .
# Some requirements come as source only: what builds them stays in this stage.
RUN python -m venv /venv && /venv/bin/pip install -r requirements.txt

FROM python:3.11-slim

# An ordinary user: Postgres, too, runs as they, so nothing needs another account.
RUN useradd --no-create-home --uid 10001 semantix && install -d -o semantix -g semantix /data
COPY --from=build /venv /venv
WORKDIR /app
COPY manage.py chroma.yaml ./
COPY outbox outbox
COPY memories memories
COPY semantix semantix
# Compiled now: the file system may be read-only later.
RUN python -m compileall -q /app

ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp DATA_DIR=/data HOST=0.0.0.0
USER semantix
VOLUME /data
EXPOSE 8000

HEALTHCHECK --interval=10s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ.get('PORT', '8000') + '/health/live', timeout=4)"]

CMD ["python", "manage.py", "up"]
