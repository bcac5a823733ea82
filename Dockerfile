# The same as `make run`, in a container:
#   docker build -t rag-vision .
#   docker run -p 7860:7860 -v rag-vision:/data rag-vision
# The pages are reachable from outside the container, so a token is asked for: the link that holds it is printed at start.

FROM python:3.11-slim AS build

# pip reads it from the environment. Point it at PyTorch's CPU wheels to leave several GB of CUDA out of the image.
ARG PIP_EXTRA_INDEX_URL=""

RUN python -m venv /opt/venv
COPY requirements.txt requirements-demo.txt /tmp/
RUN /opt/venv/bin/pip install --no-cache-dir --disable-pip-version-check \
        -r /tmp/requirements.txt -r /tmp/requirements-demo.txt

FROM python:3.11-slim

RUN useradd --create-home --uid 10001 annotator \
    && install --directory --owner annotator --group annotator /app /data
COPY --from=build /opt/venv /opt/venv
COPY --chown=annotator:annotator . /app

# HOME's caches go to the volume too: the encoder's graph is written once, not at every start
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    XDG_CACHE_HOME=/data/.cache \
    RAGVISION_PROJECT=/data/project \
    RAGVISION_PORT=7860

USER 10001
WORKDIR /app
VOLUME /data
EXPOSE 7860

HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-m", "ragvision_app", "healthcheck"]

ENTRYPOINT ["python", "-m", "ragvision_app"]
CMD ["run", "--host", "0.0.0.0", "--demo"]
