# chandler on CPUs: docker build -t chandler .
FROM python:3.12.11-slim-bookworm AS build
WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY src src
RUN python -m venv /venv \
    && /venv/bin/pip install --no-cache-dir --index-url https://download.pytorch.org/whl/cpu torch==2.13.0 \
    && /venv/bin/pip install --no-cache-dir --constraint constraints.txt .

FROM python:3.12.11-slim-bookworm
RUN useradd --create-home --uid 1000 chandler
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1
USER 1000
WORKDIR /home/chandler
HEALTHCHECK --interval=1m --timeout=10s CMD ["chandler", "--version"]
CMD ["chandler", "--help"]
