"""The bridge between the machine and its pods, and the packet filter's rules; made and removed here."""

import re
import subprocess
from pathlib import Path
from typing import Final

from devcluster.commands import run
from devcluster.layout import BRIDGE, HOST_IP, NETWORK, POD_CIDR, SERVICE_CIDR

COMMENT: Final = ("-m", "comment", "--comment", NETWORK)
KERNEL_HINT: Final = "the kernel must have bridge, veth and iptables support"

# Out of the pods' network a packet carries the machine's address; and a machine whose policy is not to forward (one
# where Docker once ran) forwards for this bridge.
RULES: Final = (
    ("nat", "POSTROUTING", ("-s", POD_CIDR, "!", "-d", POD_CIDR, *COMMENT, "-j", "MASQUERADE")),
    ("filter", "FORWARD", ("-i", BRIDGE, *COMMENT, "-j", "ACCEPT")),
    ("filter", "FORWARD", ("-o", BRIDGE, *COMMENT, "-j", "ACCEPT")),
)


def has_bridge() -> bool:
    """Whether the bridge is there."""
    return Path(f"/sys/class/net/{BRIDGE}").exists()


def up() -> bool:
    """Make the bridge, forward packets, add the rules: what is missing of it; returns whether anything was."""
    changed = _make_bridge()
    changed |= _set("/proc/sys/net/ipv4/ip_forward", "1")
    # Two pods on the bridge that speak through a Service: their answers, too, must pass the packet filter.
    bridge_filter = "/proc/sys/net/bridge/bridge-nf-call-iptables"
    if not Path(bridge_filter).exists():
        run(["modprobe", "br_netfilter"], hint="the kernel must have br_netfilter (package linux-modules-extra)")
    changed |= _set(bridge_filter, "1")
    for table, chain, rule in RULES:
        if not _succeeds(["iptables", "-w", "-t", table, "-C", chain, *rule]):
            run(["iptables", "-w", "-t", table, "-I", chain, *rule], hint=KERNEL_HINT)
            changed = True
    return changed


def _make_bridge() -> bool:
    present = has_bridge()
    if not present:
        run(["ip", "link", "add", BRIDGE, "type", "bridge"], hint=KERNEL_HINT)
    # Setting them again changes nothing, and mends a bridge that lost its address or was shut.
    run(["ip", "address", "replace", f"{HOST_IP}/24", "dev", BRIDGE], hint=f"{HOST_IP} must not be in use elsewhere")
    run(["ip", "link", "set", BRIDGE, "up"], hint=KERNEL_HINT)
    # A Service's address that the packet filter does not know (yet) ends at the bridge, instead of leaving the machine.
    run(["ip", "route", "replace", SERVICE_CIDR, "dev", BRIDGE], hint=f"{SERVICE_CIDR} must not be in use elsewhere")
    run(["ip", "link", "set", "lo", "up"], hint=KERNEL_HINT)
    return not present


def _set(setting: str, value: str) -> bool:
    file = Path(setting)
    if file.read_text().strip() == value:
        return False
    file.write_text(value)
    return True


def _succeeds(argv: list[str]) -> bool:
    return subprocess.run(argv, capture_output=True, check=False).returncode == 0


def down() -> None:
    """Remove the bridge and every chain and rule that Kubernetes and the pods' network put into the packet filter."""
    if has_bridge():
        run(["ip", "link", "delete", BRIDGE], hint="see `ip link`")
    for family in ("iptables", "ip6tables"):
        saved = subprocess.run([f"{family}-save"], capture_output=True, text=True, check=False)
        script = removal(saved.stdout)
        if script:
            run([f"{family}-restore", "--noflush"], stdin=script.encode(), hint=f"see `{family}-save`")


_OURS: Final = re.compile(r"^:((?:KUBE|CNI)-\S+)")


def removal(saved: str) -> str:
    """Turn iptables-save's output into what iptables-restore --noflush must read to remove our chains and rules.

    Chains named KUBE-… and CNI-… go, rules of other chains that jump to them, and rules with our comment. All else
    is not mentioned, and so stays.
    """
    script: list[str] = []
    table = ""
    chains: list[str] = []
    rules: list[str] = []
    for line in saved.splitlines():
        if line.startswith("*"):
            table, chains, rules = line, [], []
        elif found := _OURS.match(line):
            chains.append(found[1])
        elif line.startswith("-A ") and _is_foreign_rule_of_ours(line):
            rules.append("-D " + line.removeprefix("-A "))
        elif line == "COMMIT" and (chains or rules):
            # Restore's own declaration of a chain empties it; only then can each be deleted, whoever jumps where.
            flush = [f":{chain} - [0:0]" for chain in chains]
            script += [table, *flush, *rules, *(f"-X {chain}" for chain in chains), "COMMIT"]
    return "\n".join(script) + "\n" if script else ""


def _is_foreign_rule_of_ours(rule: str) -> bool:
    chain = rule.split()[1]
    if chain.startswith(("KUBE-", "CNI-")):
        return False
    return re.search(r"-j (KUBE|CNI)-", rule) is not None or NETWORK in rule
