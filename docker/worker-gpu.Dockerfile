# A worker beside SGLang, on SGLang's own CUDA image. Build from the repository's root:
#   docker build -f docker/worker-gpu.Dockerfile \
#     --build-arg SGLANG_IMAGE=lmsysorg/sglang@sha256:… .
# The digest is that of release 0.5.23; find it with `docker buildx imagetools inspect`. The model is
# not inside: it is mounted at /models, and named by its manifest.
ARG SGLANG_IMAGE
FROM ${SGLANG_IMAGE:?must-be-NAME@sha256:DIGEST} AS builder
ARG SGLANG_IMAGE
ARG ENGINE_PYTHON=/usr/bin/python3
ARG SGLANG_VERSION=0.5.23
USER 0:0
RUN case "$SGLANG_IMAGE" in *@sha256:*) ;; \
    *) echo "SGLANG_IMAGE must be NAME@sha256:..., not a tag" >&2; exit 1 ;; esac
RUN "$ENGINE_PYTHON" -c "from importlib.metadata import version as of; import sys; \
    found = of('sglang'); found == '$SGLANG_VERSION' or sys.exit(f'the image holds SGLang {found}')"
WORKDIR /src
COPY LICENSE README.md pyproject.toml ./
COPY requirements/dev.txt requirements/dev.txt
COPY packaging/worker packaging/worker
COPY docker/install-role docker/lock.py docker/
COPY bombyx bombyx
COPY worker worker
RUN BASE_IMAGE="$SGLANG_IMAGE" PYTHON="$ENGINE_PYTHON" docker/install-role worker-gpu /opt/bombyx
RUN install -d -o 10001 -g 10001 -m 0700 /state

FROM ${SGLANG_IMAGE:?must-be-NAME@sha256:DIGEST}
ARG ENGINE_PYTHON=/usr/bin/python3
# HOME is where Triton, FlashInfer and PyTorch write what they compile: a tmpfs that may execute.
ENV HOME=/tmp \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    BOMBYX_STATE=/var/lib/bombyx \
    BOMBYX_WORKER_ENGINE=sglang \
    BOMBYX_WORKER_ENGINE_PYTHON=${ENGINE_PYTHON} \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=builder /opt/bombyx /opt/bombyx
COPY --from=builder /state /var/lib/bombyx
USER 10001:10001
WORKDIR /var/lib/bombyx
VOLUME /var/lib/bombyx
STOPSIGNAL SIGTERM
# A worker opens no port that could be asked: it ends when it is broken, and its gateway knows
# whether it is linked.
HEALTHCHECK NONE
ENTRYPOINT ["/opt/bombyx/bin/bombyx"]
CMD ["worker", "--json"]
