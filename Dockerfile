# The daemon and its control command, without the compiler that some wheels may need. See docs/docker.md.
ARG BASE_IMAGE=python:3.11-slim

FROM ${BASE_IMAGE} AS build
ARG PIP_ARGS=""
WORKDIR /src
COPY . .
# With a folder .wheels (make wheels) nothing is fetched; else pip fetches, and compiles what has no wheel for this platform.
RUN python3 -m venv /opt/bflc \
 && if [ -d .wheels ]; then \
      /opt/bflc/bin/pip install --no-cache-dir --no-index --find-links .wheels bflcd; \
    else \
      apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev libgmp-dev \
   && /opt/bflc/bin/pip install --no-cache-dir --require-hashes --no-deps -r .ci/lock/run.txt \
   && /opt/bflc/bin/pip install --no-cache-dir --no-build-isolation -c constraints.txt ${PIP_ARGS} .; \
    fi

FROM ${BASE_IMAGE}
RUN groupadd --gid 10001 bflc && useradd --uid 10001 --gid bflc --home-dir /data --no-create-home bflc \
 && install -d -m 0700 -o bflc -g bflc /data
COPY --from=build /opt/bflc /opt/bflc
ENV PATH=/opt/bflc/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    OMP_NUM_THREADS=1
USER bflc
WORKDIR /data
VOLUME /data
EXPOSE 4001
HEALTHCHECK --interval=20s --timeout=15s --start-period=90s --retries=3 CMD ["bflc-cli", "--datadir", "/data", "status"]
ENTRYPOINT ["bflcd"]
CMD ["start", "--datadir", "/data"]
