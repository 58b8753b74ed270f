# Redis from Debian's packages, for tests if the official image cannot be pulled. It supports the features of the official
# image that docker/compose.yaml and the tests need: arguments are passed to redis-server, and its user is not root.
#
#   docker build --file docker/test-images/redis.Dockerfile docker/test-images

ARG BASE_IMAGE=debian:bookworm-slim
FROM ${BASE_IMAGE}
RUN apt-get update --quiet \
    && DEBIAN_FRONTEND=noninteractive apt-get install --quiet --yes --no-install-recommends redis-server \
    && rm -rf /var/lib/apt/lists/* \
    && install -d -o redis -g redis /data
COPY redis-entrypoint.sh /usr/local/bin/docker-entrypoint.sh
WORKDIR /data
VOLUME ["/data"]
EXPOSE 6379
ENTRYPOINT ["docker-entrypoint.sh"]
CMD ["redis-server"]
