"""Keys and certificates: good for whom they name, made once."""

import base64
import stat
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store

from devcluster import pki
from devcluster.layout import HOST_IP, KUBERNETES_SERVICE_IP, NODE


def certificate(files: dict[str, bytes], name: str) -> x509.Certificate:
    """One of the certificates."""
    return x509.load_pem_x509_certificate(files[f"{name}.crt"])


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    """All that is made for one cluster."""
    return pki.make()


@pytest.mark.parametrize("name", ["localhost", "kubernetes.default.svc"])
def test_the_api_servers_certificate_holds_for_the_names_it_is_called_by(files: dict[str, bytes], name: str) -> None:
    """A client that trusts the authority accepts it, on the machine and in pods."""
    policy = PolicyBuilder().store(Store([certificate(files, "ca")]))
    verifier = policy.build_server_verifier(x509.DNSName(name))
    assert verifier.verify(certificate(files, "apiserver"), [])


def test_a_foreign_authority_does_not_vouch_for_it(files: dict[str, bytes]) -> None:
    """Another cluster's keys open nothing here."""
    policy = PolicyBuilder().store(Store([pki.authority().certificate]))
    with pytest.raises(x509.verification.VerificationError):
        policy.build_server_verifier(x509.DNSName("localhost")).verify(certificate(files, "apiserver"), [])


def test_pods_reach_the_api_server_by_the_services_address(files: dict[str, bytes]) -> None:
    """Its certificate names the address of the Service kubernetes, and the machine's among the pods."""
    names = certificate(files, "apiserver").extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    addresses = {str(address) for address in names.get_values_for_type(x509.IPAddress)}
    assert {KUBERNETES_SERVICE_IP, HOST_IP, "127.0.0.1"} <= addresses


def test_the_kubelet_is_a_node_to_the_api_server(files: dict[str, bytes]) -> None:
    """The node authorizer knows it by its group and its name."""
    subject = certificate(files, "kubelet").subject
    assert subject.rfc4514_string() == f"CN=system:node:{NODE},O=system:nodes"


def test_a_kubeconfig_needs_no_file_beside_it(files: dict[str, bytes]) -> None:
    """The authority, the certificate and its key are in it."""
    config = yaml.safe_load(files["admin.kubeconfig"])
    user = config["users"][0]["user"]
    assert base64.b64decode(config["clusters"][0]["cluster"]["certificate-authority-data"]) == files["ca.crt"]
    assert base64.b64decode(user["client-certificate-data"]) == files["admin.crt"]
    assert base64.b64decode(user["client-key-data"]) == files["admin.key"]


def test_keys_are_kept_until_whom_they_name_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second start changes none, one with other identities all."""
    folder = tmp_path / "pki"
    assert pki.ensure(folder)
    first = (folder / "ca.crt").read_bytes()
    assert not pki.ensure(folder)
    assert (folder / "ca.crt").read_bytes() == first
    monkeypatch.setattr(pki, "IDENTITIES", {**pki.IDENTITIES, "new": pki.Identity("new")})
    assert pki.ensure(folder)
    assert (folder / "ca.crt").read_bytes() != first
    assert (folder / "new.key").exists()


def test_only_the_owner_reads_keys(tmp_path: Path) -> None:
    """Neither the folder nor a file in it is open to others."""
    folder = tmp_path / "pki"
    pki.ensure(folder)
    modes = {stat.S_IMODE(path.stat().st_mode) & 0o077 for path in (folder, *folder.iterdir())}
    assert modes == {0}


def test_keys_that_were_half_written_are_made_anew(tmp_path: Path) -> None:
    """What a killed start left is not taken for whole."""
    (tmp_path / "pki.partial").mkdir()
    (tmp_path / "pki.partial" / "ca.key").write_text("half")
    assert pki.ensure(tmp_path / "pki")
    assert not (tmp_path / "pki.partial").exists()
    assert (tmp_path / "pki" / "ca.key").read_bytes().startswith(b"-----BEGIN")
