# The gateway, with PostgreSQL's driver and payments on TON. Build from the repository's root:
#   docker build -f docker/gateway.Dockerfile --build-arg PYTHON_IMAGE=python@sha256:… .
# Python 3.11 on Debian, by digest: a tag can be moved under you.
ARG PYTHON_IMAGE
FROM ${PYTHON_IMAGE:?must-be-NAME@sha256:DIGEST} AS builder
ARG PYTHON_IMAGE
RUN case "$PYTHON_IMAGE" in *@sha256:*) ;; \
    *) echo "PYTHON_IMAGE must be NAME@sha256:..., not a tag" >&2; exit 1 ;; esac
WORKDIR /src
COPY LICENSE README.md pyproject.toml ./
COPY requirements/dev.txt requirements/dev.txt
COPY packaging/gateway packaging/gateway
COPY packaging/ton packaging/ton
COPY docker/install-role docker/lock.py docker/
COPY bombyx bombyx
COPY gateway gateway
COPY ton ton
COPY migrations migrations
RUN BASE_IMAGE="$PYTHON_IMAGE" docker/install-role gateway /opt/bombyx
RUN install -d -o 10001 -g 10001 -m 0700 /state

FROM ${PYTHON_IMAGE:?must-be-NAME@sha256:DIGEST}
ENV PATH=/opt/bombyx/bin:/usr/local/bin:/usr/bin:/bin \
    HOME=/tmp \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    BOMBYX_STATE=/var/lib/bombyx \
    BOMBYX_GATEWAY_HOST=0.0.0.0 \
    BOMBYX_GATEWAY_PORT=8080
COPY --from=builder /opt/bombyx /opt/bombyx
COPY --from=builder /state /var/lib/bombyx
USER 10001:10001
WORKDIR /var/lib/bombyx
VOLUME /var/lib/bombyx
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/readyz', timeout=4)"]
ENTRYPOINT ["bombyx"]
CMD ["gateway", "--json"]
