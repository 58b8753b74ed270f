#!/bin/sh
# Creates a cluster if none exists, and runs postgres with the arguments. Runs any other command unchanged.
set -eu
case "${1:-}" in
    postgres) shift ;;
    -*|'') ;;
    *) exec "$@" ;;
esac
if [ "$(id -u)" = 0 ]; then
    install -d -m 0700 -o postgres -g postgres "$PGDATA"
    install -d -m 2775 -o postgres -g postgres /var/run/postgresql
    exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" postgres "$@"
fi
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    user=${POSTGRES_USER:-postgres}
    database=${POSTGRES_DB:-$user}
    method=${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}
    if [ -z "${POSTGRES_PASSWORD:-}" ] && [ "$method" != trust ]; then
        echo 'POSTGRES_PASSWORD is missing: give one, or POSTGRES_HOST_AUTH_METHOD=trust.' >&2
        exit 1
    fi
    # The variable contains several arguments, so it is not quoted.
    # shellcheck disable=SC2086
    initdb --username="$user" --auth-local=trust --auth-host="$method" ${POSTGRES_INITDB_ARGS:-}
    echo "host all all all $method" >> "$PGDATA/pg_hba.conf"
    # Single-user mode: no client can connect before the cluster is ready. One statement per line.
    {
        if [ -n "${POSTGRES_PASSWORD:-}" ]; then
            printf 'ALTER ROLE "%s" PASSWORD '\''%s'\''\n' "$user" "$(printf '%s' "$POSTGRES_PASSWORD" | sed "s/'/''/g")"
        fi
        if [ "$database" != postgres ]; then
            printf 'CREATE DATABASE "%s"\n' "$database"
        fi
    } | postgres --single -D "$PGDATA" postgres > /dev/null
fi
exec postgres -D "$PGDATA" -c listen_addresses='*' "$@"
