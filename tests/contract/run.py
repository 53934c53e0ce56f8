"""Tries the description of the API on a live appliance, at the same time with an administrator's key
and with one that only reads.

usage: run.py PAGEWIRE SECONDS SEED LOGS

schemathesis makes requests from /openapi.json, valid and invalid ones, and compares every answer
with it: no 500, no status, media type, header or body that is not described. A run that learned
nothing fails as well: the key must work at its end, and have been let in to most of what it may do.
"""

import collections
import concurrent.futures
import datetime
import json
import os
import pathlib
import subprocess
import sys
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
# The programs that were installed with the Python that runs this.
TOOLS = pathlib.Path(sys.executable).parent
# Far beyond what a run can send, so that it meets the handlers and not the limits.
UNLIMITED = ["--per-minute", "1000000", "--per-hour", "1000000"]
UNLIMITED += ["--pages-per-day", "100000", "--new-destinations-per-day", "100000"]
READING = ["fax:read", "inbound:list", "inbound:read", "keys:read", "audit:read", "settings:read"]
READING += ["diagnostics:read", "contacts:read"]
# Keys that may come to harm; more than the verbs that end one.
SPARE_KEYS = 8
# schemathesis stops by itself; longer than this after its time it hangs.
PATIENCE_S = 300
# Where a key is refused whatever its scopes, and why.
NOT_FOR_KEYS = {
    "POST /admin/seal/recovery-key": "admin socket or a person",
    "POST /admin/seal/rewrap": "admin socket only",
    "POST /admin/seal/recover": "admin socket only",
    "POST /admin/audit/accept-damage": "admin socket only",
    "POST /admin/users": "session only",
    "PATCH /admin/users/{id}": "session only",
    "DELETE /admin/users/{id}": "session only",
    "POST /admin/users/{id}/password": "session only",
    "POST /admin/users/{id}/link": "session only",
    "POST /admin/users/{id}/unlock": "session only",
    "PUT /admin/accounts/{id}/grants": "session only",
}


class Appliance:
    """`pagewire demo`, with keys made for this."""

    def __init__(self, program, log):
        self.program = program
        command = [program, "demo", "--listen", "127.0.0.1:0", "--json"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("the appliance did not start")
        told = json.loads(line)
        self.url, self.data_dir = told["url"], told["data_dir"]

    def create_key(self, name, *options):
        command = [self.program, "keys", "create", name, "--json", *UNLIMITED, *options]
        environment = {**os.environ, "PAGEWIRE_DATA_DIR": self.data_dir}
        return json.loads(subprocess.run(command, env=environment, check=True, capture_output=True).stdout)

    def ask(self, path, token, body=None):
        headers = {"X-API-Key": token, "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, headers=headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def things(self, token):
        """Ids of things that exist, which nobody could guess, by the paths and parameters they fit."""
        names = [f"Spare {number}" for number in range(SPARE_KEYS)]
        keys = [self.ask("/admin/api-keys", token, {"name": name, "recoverable": True}) for name in names]
        return [
            ("^/(fax|admin/fax-jobs)/", "id", [fax["id"] for fax in self.ask("/fax", token)["jobs"]]),
            ("^/inbound/", "id", [fax["id"] for fax in self.ask("/inbound", token)]),
            ("/api-keys/[{]id[}]", "id", [key["key_id"] for key in keys]),
            ("/trace$", "number", [1]),
            ("/pages/", "page", ["1.png"]),
            ("^/admin/audit/", "seq", [1, 2]),
        ]

    def stop(self):
        self.process.terminate()
        self.process.wait(timeout=60)


def permitted(description, scopes):
    """The operations that ask for one of these scopes, or for any key."""
    for path, item in description["paths"].items():
        for method, operation in item.items():
            needed = operation.get("security", [{}])[0].get("api_key")
            label = f"{method.upper()} {path}"
            if needed is None or label in NOT_FOR_KEYS:
                continue
            if "admin" in scopes or set(needed) <= set(scopes):
                yield label


def configuration(things):
    """That of schemathesis.toml, in which every second id is one that exists."""
    parts = [(HERE / "schemathesis.toml").read_text(encoding="utf-8")]
    for number, (path, parameter, values) in enumerate(things):
        # Whatever JSON writes here is TOML as well.
        parts += [
            f"[dictionaries.things{number}]",
            f"values = {json.dumps(values)}",
            "[[operations]]",
            f"include-path-regex = {json.dumps(path)}",
            f'parameters = {{ "path.{parameter}" = {{ dictionary = "things{number}", probability = 0.5 }} }}',
        ]
    return "\n".join(parts) + "\n"


def campaign(appliance, name, key, environment, seconds, seed, logs):
    """One run with one key; returns what is to be told, and what is wrong."""
    counts_file, log_file = logs / f"{name}.json", logs / f"{name}.log"
    command = [TOOLS / "st", "--config-file", logs / "schemathesis.toml", "run"]
    command += [f"{appliance.url}/openapi.json", "--header", f"X-API-Key: {key['token']}", "--no-color"]
    command += ["--max-time", str(seconds), "--seed", str(seed), "--warnings", "off"]
    environment = {**environment, "PAGEWIRE_CONTRACT_COUNTS": str(counts_file)}
    # Of its own, because what is found is kept below it.
    folder = logs / name
    folder.mkdir(exist_ok=True)
    with open(log_file, "w", encoding="utf-8") as log:
        limit = seconds + PATIENCE_S
        run = subprocess.run(command, env=environment, stdout=log, stderr=log, cwd=folder, timeout=limit)
    text = log_file.read_text(encoding="utf-8")
    shown = text[text.find("= FAILURES =") if run.returncode else text.find("= SUMMARY =") :].strip("= \n")
    told = [f"\n== {name} key, {seconds} s, seed {seed}; all of it in {log_file}", shown]

    wrong = [] if run.returncode == 0 else [f"schemathesis ended with {run.returncode}"]
    classes, let_in = collections.Counter(), set()
    for label, count in json.loads(counts_file.read_text(encoding="utf-8")).items():
        operation, status = label.rsplit(" ", 1)
        classes[status if status in ("401", "403", "429") else f"{status[0]}xx"] += count
        if status.startswith("2"):
            let_in.add(operation)
    told.append("answers: " + ", ".join(f"{count} {status}" for status, count in sorted(classes.items())))
    expected = set(permitted(appliance.ask("/openapi.json", key["token"]), key["scopes"]))
    never = sorted(expected - let_in)
    told.append(f"operations for this key: {len(expected)}, succeeded at least once: {len(expected) - len(never)}")
    if never:
        told.append("never succeeded: " + ", ".join(never))
    if len(never) * 4 > len(expected):
        wrong.append("more than a quarter of what the key may do never succeeded")
    if appliance.ask("/v1/key", key["token"])["status"] != "active":
        wrong.append("the key ended during the run")
    return told, [f"{name} key: {what}" for what in wrong]


def main():
    program, seconds, seed, logs = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), pathlib.Path(sys.argv[4])
    logs.mkdir(parents=True, exist_ok=True)
    wrong = []
    appliance_log = logs / "appliance.log"
    with open(appliance_log, "w", encoding="utf-8") as log:
        appliance = Appliance(program, log)
        try:
            description = logs / "openapi.json"
            with urllib.request.urlopen(f"{appliance.url}/openapi.json", timeout=30) as answer:
                description.write_bytes(answer.read())
            if subprocess.run([TOOLS / "openapi-spec-validator", description]).returncode != 0:
                wrong.append("the description is not valid OpenAPI")
            end = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=1)
            admin = appliance.create_key(
                "Contract admin", "--kind", "admin", "--owner", "demo",
                "--expires-at", end.strftime("%Y-%m-%dT%H:%M:%SZ"),
            )
            reader = appliance.create_key(
                "Contract reader", "--scopes", ",".join(READING), "--owner", "demo"
            )
            things = appliance.things(admin["token"])
            (logs / "schemathesis.toml").write_text(configuration(things), encoding="utf-8")
            environment = {
                **os.environ,
                "SCHEMATHESIS_HOOKS": "hooks",
                "PYTHONPATH": str(HERE),
                "PYTHONDONTWRITEBYTECODE": "1",
                "PAGEWIRE_CONTRACT_KEY_IDS": f"{admin['key_id']} {reader['key_id']}",
            }
            with concurrent.futures.ThreadPoolExecutor() as threads:
                runs = [
                    threads.submit(campaign, appliance, name, key, environment, seconds, seed, logs)
                    for name, key in [("admin", admin), ("read-only", reader)]
                ]
            for run in runs:
                told, found = run.result()
                print("\n".join(told))
                wrong += found
        finally:
            appliance.stop()
    panics = appliance_log.read_text(encoding="utf-8").count("panicked")
    if panics:
        wrong.append(f"{panics} requests panicked, see {appliance_log}")
    print("\n" + ("\n".join(f"not ok - {what}" for what in wrong) or "ok - every answer is as described"))
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
