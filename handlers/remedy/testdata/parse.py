"""Gives command lines to az, and says what az says.

Each line of the input is a list of arguments in JSON, without az itself. Each line
of the output is an object: the exit code, and what az writes. One process does all,
because az takes far longer to start than to parse a command.
"""
import json
import os
import sys
import tempfile

from azure.cli.core import get_default_cli

results = os.fdopen(os.dup(1), "w")
for line in sys.stdin:
    with tempfile.TemporaryFile() as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
        try:
            code = get_default_cli().invoke(json.loads(line))
        except SystemExit as end:
            code = end.code
        sys.stdout.flush()
        sys.stderr.flush()
        output.seek(0)
        says = output.read().decode(errors="replace")
    print(json.dumps({"code": code, "says": says}), file=results, flush=True)
