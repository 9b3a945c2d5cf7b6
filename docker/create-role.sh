#!/bin/sh
# Runs once, when the volume of PostgreSQL is created: the role of web and cluster, which owns the database and is no
# superuser. Only a superuser may create the extension.
set -eu
psql -v ON_ERROR_STOP=1 --quiet --username "${POSTGRES_USER:-postgres}" --dbname "$POSTGRES_DB" \
    -v database="$POSTGRES_DB" -v password="$DATABASE_PASSWORD" <<'SQL'
CREATE ROLE semantix LOGIN PASSWORD :'password';
ALTER DATABASE :"database" OWNER TO semantix;
CREATE EXTENSION vector;
SQL
