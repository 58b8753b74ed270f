#!/bin/sh
# Runs redis-server with the arguments, or another command as it is.
set -eu
case "${1:-}" in
    redis-server) shift ;;
    -*|*.conf|'') ;;
    *) exec "$@" ;;
esac
# A file of settings stands before everything else.
file=
case "${1:-}" in
    *.conf) file=$1; shift ;;
esac
# Whoever reaches the container's port may connect, as with the official image: nobody does unless it is published.
set -- redis-server ${file:+"$file"} --protected-mode no "$@"
if [ "$(id -u)" = 0 ]; then
    chown redis:redis .
    exec setpriv --reuid=redis --regid=redis --init-groups "$@"
fi
exec "$@"
