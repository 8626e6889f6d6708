# The service in a container: `docker build -t earmark .`, or `docker compose up` (compose.yaml).
#
# Two stages: the first builds, the second has no compiler, no pip cache and no source. PostgreSQL is elsewhere
# (EARMARK_DATABASE_URL); everything else that must be kept lies in /data. What was checked of this file, and what
# was not, is in docs/operations.md.
FROM python:3.12-slim AS build

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build
RUN python -m venv /venv
# The tested versions. The CPU build of torch is the same release without 2 GB of CUDA libraries.
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY audio audio
COPY generation generation
COPY watermark watermark
COPY registry registry
COPY api api
COPY migrations migrations
RUN /venv/bin/pip install -c constraints.txt --extra-index-url https://download.pytorch.org/whl/cpu .

FROM python:3.12-slim

RUN useradd --system --uid 10001 --home-dir /nonexistent --shell /usr/sbin/nologin earmark \
 && install -d -m 0700 -o earmark -g earmark /data
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 EARMARK_DATA_DIR=/data
USER 10001
WORKDIR /data
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/livez', timeout=4)"]
ENTRYPOINT ["earmark"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8000"]
