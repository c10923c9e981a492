# The operator's image: its runtime dependencies as pinned in constraints.txt, without compilers, pip or development
# packages, as a user without rights. Build it from the repository's root:
#
#   docker build --tag trimtab:0.1.0 .
ARG PYTHON=3.11

FROM python:${PYTHON}-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
RUN python -m venv /venv
# Dependencies are a layer of their own: it is built anew only when they change.
COPY pyproject.toml constraints.txt ./
RUN python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" \
      > requirements.txt \
 && /venv/bin/python -m pip install --constraint constraints.txt --requirement requirements.txt
COPY README.md LICENSE ./
COPY operator operator
RUN /venv/bin/python -m pip install --no-deps . \
 && /venv/bin/python -m pip check \
 && /venv/bin/python -m pip uninstall --yes setuptools pip

FROM python:${PYTHON}-slim
LABEL org.opencontainers.image.title="trimtab" \
      org.opencontainers.image.description="A Kubernetes operator for safe production tuning" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /venv /venv
# One thread per fit: more would take the CPU from the safety loop. The root file system is read-only: what libraries
# want to write goes to /tmp.
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    OMP_NUM_THREADS=1 \
    OPENBLAS_NUM_THREADS=1 \
    HOME=/tmp \
    MPLCONFIGDIR=/tmp/matplotlib
WORKDIR /tmp
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["trimtab-operator"]
