#!/bin/sh
# Runs redis-server with the arguments. Runs any other command unchanged.
set -eu
case "${1:-}" in
    redis-server) shift ;;
    -*|*.conf|'') ;;
    *) exec "$@" ;;
esac
# A configuration file must be the first argument.
file=
case "${1:-}" in
    *.conf) file=$1; shift ;;
esac
# Any client that can reach the container's port can connect, as with the official image. The port must be published for that.
set -- redis-server ${file:+"$file"} --protected-mode no "$@"
if [ "$(id -u)" = 0 ]; then
    chown redis:redis .
    exec setpriv --reuid=redis --regid=redis --init-groups "$@"
fi
exec "$@"
