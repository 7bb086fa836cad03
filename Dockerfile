# chandler on CPUs: docker build -t chandler .
FROM python:3.12.11-slim-bookworm AS build
WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY src src
RUN python -m venv /venv \
    && /venv/bin/pip install --no-cache-dir --index-url https://download.pytorch.org/whl/cpu torch==2.13.0 \
    && /venv/bin/pip install --no-cache-dir --constraint constraints.txt ".[studio]"

FROM python:3.12.11-slim-bookworm
RUN useradd --create-home --uid 1000 chandler
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1
USER 1000
WORKDIR /home/chandler
EXPOSE 8421
HEALTHCHECK --interval=1m --timeout=10s --start-period=30s \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8421/api/v1/health', timeout=5)"]
CMD ["chandler", "studio", "--no-browser", "--host", "0.0.0.0", "--port", "8421", "--data", "/home/chandler"]
