# An inference server with vLLM in it, for spec.engine.name vllm: docker build -f inference/vllm.Dockerfile .
# The base has vLLM, torch and their CUDA libraries; of what the server needs, it lacks little.
ARG BASE_IMAGE=vllm/vllm-openai:v0.32.0
FROM ${BASE_IMAGE}
COPY inference /tmp/inference
RUN python3 -m pip install --no-cache-dir /tmp/inference && rm -rf /tmp/inference
# The root is read-only and the user has no entry in /etc/passwd: what libraries keep at home belongs in /tmp.
ENV HOME=/tmp USER=llama PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
WORKDIR /
EXPOSE 8080
ENTRYPOINT ["llama-inference"]
CMD ["serve"]
