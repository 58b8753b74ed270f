# PostgreSQL from Debian's packages, for tests if the official image cannot be pulled. It supports the features of the official
# image that docker/compose.yaml and the tests need: POSTGRES_USER, POSTGRES_PASSWORD, POSTGRES_DB, POSTGRES_HOST_AUTH_METHOD and
# POSTGRES_INITDB_ARGS configure a new cluster on the volume; arguments are passed to postgres; its user is not root.
#
#   docker build --file docker/test-images/postgres.Dockerfile docker/test-images

ARG BASE_IMAGE=debian:bookworm-slim
FROM ${BASE_IMAGE}
# Prevents the package from creating a cluster, which is not needed.
RUN install -d /etc/postgresql-common \
    && echo 'create_main_cluster = false' > /etc/postgresql-common/createcluster.conf \
    && apt-get update --quiet \
    && DEBIAN_FRONTEND=noninteractive apt-get install --quiet --yes --no-install-recommends postgresql \
    && rm -rf /var/lib/apt/lists/* \
    && ln -s /usr/lib/postgresql/*/bin /usr/local/postgresql \
    && install -d -m 0700 -o postgres -g postgres /var/lib/postgresql/data
# As in the official image. It determines the encoding of a new cluster.
ENV LANG=C.UTF-8
ENV PATH=/usr/local/postgresql:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin PGDATA=/var/lib/postgresql/data
COPY postgres-entrypoint.sh /usr/local/bin/docker-entrypoint.sh
VOLUME ["/var/lib/postgresql/data"]
EXPOSE 5432
# SIGINT disconnects clients. SIGTERM would wait for them.
STOPSIGNAL SIGINT
ENTRYPOINT ["docker-entrypoint.sh"]
CMD ["postgres"]
