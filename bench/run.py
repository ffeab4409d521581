#!/usr/bin/env python3
"""Midstream against its peers in one run on one machine: `bench/run [--targets a,b] [--phases p1,k1000] [--quick]`.

The fake upstream and the load client share one core, the gateway has the other. See README.md."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import accounts
import agents
import install
import phases
import report
from machine import Core, cpu_seconds, family, free_port, get, launch, raise_file_limit, rss_mb, stop, wait_idle
from phases import Phase
from postgres import Postgres
from targets import DEFAULT, HERE, LITELLM_KEY, TARGETS, WORK, Ask, Ports, Target

START_LIMIT = 150  # seconds
Result = dict[str, Any]


class Failed(Exception):
    """The target did not come up, or died."""


class Bench:
    """One target under load: its own fake upstream, so that the counts are its own."""

    def __init__(self, target: Target, gateway_core: int, load_core: int) -> None:
        self.target, self.gateway_core, self.load_core = target, gateway_core, load_core
        mock, tls = free_port(), free_port()
        self.ports = Ports(mock, tls, free_port() if target.command else mock)
        self.postgres: Postgres | None = None
        self.gateway: subprocess.Popen[bytes] | None = None
        self.asked = self.abandoned = 0
        keys = WORK / "tls"
        mockllm = [
            str(WORK / "bench-upstream"),
            str(mock),
            str(tls),
            str(keys / "server.pem"),
            str(keys / "server.key"),
        ]
        self.mock = launch(mockllm, load_core)

    def start(self) -> Result:
        """Raises Failed. Gives the seconds until it answered and its memory when idle."""
        self._wait_for(self.mock, self.ports.mock, "/-/count")
        started = time.monotonic()
        if self.target.command:
            environment = self._prepare()
            started = time.monotonic()
            log = WORK / f"log-{self.target.name}.txt"
            command = self.target.command(self.ports)
            self.gateway = launch(command, self.gateway_core, log, environment, self.target.folder)
            self._wait_for(self.gateway, self.ports.gateway, self.target.ready)
        ready = time.monotonic() - started
        time.sleep(self.target.settle)
        return {
            "start_s": round(ready, 3) if self.gateway else None,
            "rss_idle": rss_mb(self.own()),
            "processes": len(self.own()),
        }

    def _prepare(self) -> dict[str, str]:
        t, p = self.target, self.ports
        if t.config:
            words = {"MOCK": p.mock, "TLS": p.tls, "PORT": p.gateway, "CA": WORK / "tls/ca.pem", "KEY": LITELLM_KEY}
            text = (HERE / "configs" / t.config).read_text()
            for word, value in words.items():
                text = text.replace(f"@{word}@", str(value))
            (WORK / t.config).write_text(text)
        shutil.rmtree(WORK / "midstream-data", ignore_errors=True)
        kept = {k: os.environ[k] for k in ("PATH", "HOME", "LANG", "TMPDIR") if k in os.environ}
        environment = {**kept, "NO_PROXY": "*", **t.environment}
        if t.postgres:
            self.postgres = Postgres(self.gateway_core)
            environment["MIDSTREAM_DATABASE_URL"] = self.postgres.url
        return environment

    def _wait_for(self, process: subprocess.Popen[bytes], port: int, path: str) -> None:
        until = time.monotonic() + START_LIMIT
        while time.monotonic() < until:
            try:
                status, _ = get(port, path or "/__none")
                if status == 200 or not path:
                    return
            except OSError:
                pass
            if process.poll() is not None:
                raise Failed(f"ended with {process.returncode}: {self._last_words()}")
            time.sleep(0.01)
        raise Failed(f"not ready after {START_LIMIT} s: {self._last_words()}")

    def _last_words(self) -> str:
        log = WORK / f"log-{self.target.name}.txt"
        lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
        return f"{lines[-1][:200] if lines else 'no word'} ({log})"

    def own(self) -> list[int]:
        """The processes whose CPU and memory are the gateway's (without one: the upstream's)."""
        pids = family(self.gateway.pid) if self.gateway else [self.mock.pid]
        return pids + family(self.postgres.process.pid) if self.postgres else pids

    def load(self, ask: Ask, phase: Phase, arguments: list[str], pids: list[int]) -> Result:
        """One run of ldgen: its line of JSON, or {"fail": its words}."""
        command = [
            str(WORK / "ldgen"),
            "-p",
            str(self.ports.gateway),
            "-u",
            ask.path,
            "-m",
            ask.model,
            "-f",
            phase.face,
        ]
        command += [x for header in ask.headers for x in ("-H", header)]
        command += [x for pid in pids for x in ("-P", str(pid))]
        if phase.prompt:
            command += ["-B", str(phase.prompt)]
        if phase.streamed:
            command += ["-s", "-k", str(phase.upstream.chunks)]
        try:
            done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=120, check=False)
            result: Result = json.loads(done.stdout)
        except (subprocess.TimeoutExpired, ValueError) as e:
            return {"fail": str(e)[-300:]}
        self.asked += result["asked"]
        self.abandoned += result["abandoned"]
        return result

    def warm_up(self, seconds: float) -> None:
        """Plain load before the first unpaced phase, so that no just-in-time compiler is measured at work."""
        phase = phases.WARM_UP
        ask = self.target.ask(phase.face, phase.upstream, phase.streamed, self.ports)
        if ask:
            self.load(ask, phase, ["-c", str(phase.connections), "-t", str(seconds), "-d", "3"], [])

    def measure(self, phase: Phase) -> Result:
        """{"skipped": why} when the target cannot be asked so, else what ldgen measured and what the core says."""
        ask = self.target.ask(phase.face, phase.upstream, phase.streamed, self.ports)
        if not ask:
            return {"skipped": "cannot be asked so"}
        probe = self.load(ask, phase, ["-c", "1" if phase.paced else "4", "-n", "1" if phase.paced else "100"], [])
        self._alive(phase)
        if probe.get("fail") or not probe.get("answered"):
            return {"skipped": probe.get("sample") or probe.get("fail") or "no good answer"}
        pids = self.own()
        wait_idle(pids, 15)
        tls_before = accounts.served(self.ports.mock)["tls_connections"]
        before, cpu_before, core = rss_mb(pids), cpu_seconds(pids), Core(self.gateway_core)
        timing = {"-c": phase.connections, "-t": phase.seconds, "-w": phase.warm, "-r": phase.ramp, "-d": phase.drain}
        result = self.load(ask, phase, [str(x) for pair in timing.items() for x in pair], pids)
        own_cpu = cpu_seconds(pids) - cpu_before if self.gateway else 0.0
        result["foreign_pct"], result["steal_pct"] = core.foreign_pct(own_cpu)
        if phase.paced and "rss_mb" in result:
            result["kb_stream"] = round((result["rss_mb"] - before) * 1024 / phase.connections, 1)
        self._alive(phase)
        if phase.upstream.tls:
            result["tls_connections"] = accounts.served(self.ports.mock)["tls_connections"] - tls_before
        return result

    def _alive(self, phase: Phase) -> None:
        if self.mock.poll() is not None:
            raise Failed(f"the fake upstream ended with {self.mock.returncode} in {phase.name}")
        if self.gateway and self.gateway.poll() is not None:
            raise Failed(f"died in {phase.name}: {self._last_words()}")

    def stop(self) -> None:
        for part in (self.gateway, self.mock):
            if part:
                stop(part)
        if self.postgres:
            self.postgres.stop()
        shutil.rmtree(WORK / "midstream-data", ignore_errors=True)


def why_missing(name: str) -> str:
    """Installs what the target needs; empty when all is there."""
    try:
        install.prepare(name)
    except install.Missing as e:
        return str(e)
    return ""


def run_target(target: Target, chosen: list[Phase], quick: bool, cores: tuple[int, int]) -> Result:
    """Everything about one target; {"skipped": why} when it does not start."""
    result: Result = {"label": target.label, "phases": {}}
    bench = Bench(target, *cores)
    try:
        result |= bench.start()
        warm = False
        for phase in chosen:
            if not phase.paced and not warm:
                bench.warm_up(2 if quick else 6)
                warm = True
            result["phases"][phase.name] = measured = bench.measure(phase)
            print(report.phase_line(target.name, phase.name, measured), flush=True)
        result["rss_end"] = rss_mb(bench.own())
        if target.accounts:
            wait_idle(bench.own(), 20)
            result["accounts"] = accounts.check(bench.ports.gateway, bench.ports.mock, bench.asked, bench.abandoned)
            print("\n".join(f"  accounts: {line}" for line in result["accounts"]["lines"]), flush=True)
    except (Failed, install.Missing) as e:
        print(f"{target.name}: {e}", flush=True)
        if not result["phases"]:
            return {"label": target.label, "skipped": str(e)}
        result["died"] = str(e)
    finally:
        bench.stop()
    return result


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench/run", description=__doc__)
    parser.add_argument("--targets", help=f"of {','.join(TARGETS)}")
    parser.add_argument(
        "--phases", default=phases.DEFAULT, help=f"of {','.join(p.name for p in phases.ALL)},{phases.AGENTS}"
    )
    parser.add_argument("--quick", action="store_true", help="half the seconds, without PostgreSQL")
    parser.add_argument("--gateway-core", type=int, default=0)
    parser.add_argument("--load-core", type=int, default=1)
    parser.add_argument("--out", type=Path, default=WORK / "results", help="folder of the report")
    chosen = parser.parse_args()
    if not chosen.targets:
        chosen.targets = ",".join(t for t in DEFAULT.split(",") if not (chosen.quick and t == "midstream-pg"))
    return chosen


def machine_facts() -> Result:
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        "",
    )
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def main() -> int:
    chosen = options()
    names = chosen.phases.split(",")
    try:
        targets = [TARGETS[name] for name in chosen.targets.split(",")]
        wanted = phases.chosen([name for name in names if name != phases.AGENTS], chosen.quick)
    except KeyError as e:
        print(f"bench/run: there is no {e}", file=sys.stderr)
        return 2
    if not {chosen.gateway_core, chosen.load_core} <= os.sched_getaffinity(0):
        print("bench/run: two cores are needed (--gateway-core, --load-core)", file=sys.stderr)
        return 2
    try:
        install.tools()
    except install.Missing as e:
        print(f"bench/run: {e}", file=sys.stderr)
        return 1
    missing = {target.name: why for target in targets if wanted and (why := why_missing(target.name))}
    os.sched_setaffinity(0, {chosen.load_core})
    raise_file_limit()
    run: Result = {
        "when": time.strftime("%Y-%m-%d %H:%M"),
        "machine": machine_facts(),
        "quick": chosen.quick,
        "targets": {},
    }
    for target in targets if wanted else ():
        if target.name in missing:
            result: Result = {"label": target.label, "skipped": missing[target.name]}
        else:
            result = run_target(target, wanted, chosen.quick, (chosen.gateway_core, chosen.load_core))
        run["targets"][target.name] = result
        if result.get("skipped"):
            print(f"{target.name}: skipped: {result['skipped']}", flush=True)
    if phases.AGENTS in names:
        run["agents"] = agents.run([*agents.servers()], (chosen.gateway_core, chosen.load_core), chosen.quick)
    run["machine"]["load_after"] = round(os.getloadavg()[0], 2)
    report.write(run, chosen.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
