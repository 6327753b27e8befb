#!/bin/sh
# One request through the sidecar of `bombyx up`: KEY=… sh examples/chat.sh
curl --silent --show-error http://127.0.0.1:8787/v1/chat/completions \
    -H "Authorization: Bearer $KEY" -H "Content-Type: application/json" \
    -d '{"model": "'"${MODEL:-smollm2-135m-instruct}"'",
         "messages": [{"role": "user", "content": "Name the capital of France."}]}'
