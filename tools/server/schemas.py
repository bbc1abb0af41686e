"""Asks `limpid serve` what its own description, and OpenAI's, say can be asked: no 5xx, no answer that breaks a schema.

`cargo xtask clients --schemas` makes an environment for it and runs it, `--openai FILE` adds OpenAI's description.
"""

import argparse
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import threading

# What a description cannot say (two fields that exclude each other, tokens that do not exist) may be refused.
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
PATHS = ["/completions", "/chat/completions"]


def run(description, url, cases, *more):
    command = [pathlib.Path(sys.executable).parent / "schemathesis", "run", description, "--url", url]
    command += ["--checks", CHECKS, "--max-examples", str(cases), "--seed", "1"]
    command += ["--phases", "examples,coverage,fuzzing"]
    # A request may leave out how long its answer gets, and get all that the context has room for.
    command += ["--request-timeout", "60", *more]
    return subprocess.run(list(map(str, command))).returncode == 0


def of_openai(path, folder):
    """The two operations of OpenAI's description, with the statuses that it leaves unsaid."""
    description = json.loads(pathlib.Path(path).read_text())
    description["paths"] = {path: {"post": description["paths"][path]["post"]} for path in PATHS}
    for operation in description["paths"].values():
        error = {"description": "error", "content": {"application/json": {
            "schema": {"$ref": "#/components/schemas/ErrorResponse"}}}}
        for status in ["400", "404", "405", "413", "415", "429"]:
            operation["post"]["responses"][status] = error
    for name in ["CreateCompletionRequest", "CreateChatCompletionRequest"]:
        schema = description["components"]["schemas"][name]
        for part in [schema, *schema.get("allOf", [])]:
            if "model" in part.get("properties", {}):
                part["properties"]["model"] = {"type": "string", "enum": ["pocket"]}
    kept = folder / "openai.json"
    kept.write_text(json.dumps(description))
    return kept


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--limpid", required=True, help="the program")
    parser.add_argument("--openai", help="OpenAI's description, as JSON")
    parser.add_argument("--cases", type=int, default=60, help="requests that are made up for each operation")
    args = parser.parse_args()
    command = [args.limpid, "serve", "--port", "0", "--context", "200"]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        address = next(found[1] for line in server.stderr if (found := re.search(r"(http://[\d.:]+)", line)))
        # Nobody else reads it, and a full pipe would stop the server.
        threading.Thread(target=server.stderr.read, daemon=True).start()
        is_kept = run(f"{address}/openapi.json", address, args.cases)
        if args.openai:
            with tempfile.TemporaryDirectory() as folder:
                description = of_openai(args.openai, pathlib.Path(folder))
                is_kept &= run(description, f"{address}/v1", args.cases)
    finally:
        server.terminate()
    assert server.wait(60) == 0
    sys.exit(0 if is_kept else 1)


if __name__ == "__main__":
    main()
