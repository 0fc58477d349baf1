"""The playground in a real browser: what it asks, what it shows, and how it is stopped."""

import json
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import Page, expect

from llama_inference.backends.mock import TEXT
from tests.llama_inference.harness import Gate, Served, eventually, serve_mock
from tests.llama_inference.playground.conftest import Opened

pytestmark = pytest.mark.slow  # a real browser

SHARP = """it's "quoted" $HOME `id` \\ and\nbroken — 🦙!"""

UNSENDABLE: Final = {
    "seed": {
        "seven": "seed must be a number; it is seven",
        "9007199254740993": "seed is beyond what a browser can send exactly; it is 9007199254740993",
    },
    "Other parameters, as JSON": {
        "{": "Other parameters are not valid JSON: ",
        "[1]": "Other parameters must be a JSON object",
    },
    "Prompt": {"": "Write a prompt first."},
}


def parameter(page: Page, name: str) -> Any:
    """The field of a parameter, found as a screen reader finds it: by its label."""
    return page.get_by_label(name, exact=True)


def ask(page: Page, prompt: str = "x", **parameters: object) -> None:
    """Fill the form in and send it."""
    page.get_by_label("Prompt").fill(prompt)
    for name, value in parameters.items():
        parameter(page, name).fill(str(value))
    page.get_by_role("button", name="Send").click()


def test_text_appears_as_it_is_generated(page: Page, playground: tuple[Served, Gate]) -> None:
    """Piece by piece; then the figures."""
    _, gate = playground
    ask(page, max_new_tokens=41)
    outputs = page.locator("#outputs")
    gate.let(9)
    expect(outputs).to_have_text(TEXT[:9])
    expect(outputs).to_have_attribute("aria-busy", "true")
    expect(page.get_by_role("button", name="Send")).to_be_disabled()
    gate.open()
    expect(page.get_by_role("status")).to_have_text("Done.")
    expect(outputs).to_have_text(TEXT.encode()[:40].decode(errors="replace"))
    expect(outputs).to_have_attribute("aria-busy", "false")
    expect(page.locator("#tokens")).to_have_text("1 + 40")
    expect(page.locator("#reason")).to_have_text("length")
    assert float(page.locator("#rate").inner_text()) > 0
    assert page.locator("#first").inner_text().endswith(" s")


def test_an_answer_can_come_whole(page: Page, playground: tuple[Served, Gate]) -> None:
    """Several sequences stand one below the other, with the server's own times."""
    playground[1].open()
    page.get_by_label("Stream the answer").uncheck()
    page.get_by_label("Other parameters, as JSON").fill('{"num_return_sequences": 2}')
    ask(page, max_new_tokens=5, num_beams=2)
    expect(page.locator("#outputs pre")).to_have_text([TEXT[:4], TEXT[:4]])
    expect(page.locator("#tokens")).to_have_text("1 + 8")


def test_stop_frees_the_place_in_the_engine(page: Page, playground: tuple[Served, Gate]) -> None:
    """What came stays; the button hands the focus back, and Esc does the same."""
    served, gate = playground
    for way in ("button", "key"):
        before = served.hung_up
        ask(page, max_new_tokens=4000)
        gate.let(3)
        expect(page.locator("#outputs")).to_have_text(TEXT[:3])
        stop = page.get_by_role("button", name="Stop")
        if way == "button":
            stop.click()
        else:
            page.keyboard.press("Escape")
        expect(page.get_by_role("status")).to_have_text("Stopped.")
        served.hang_up_is_noticed(before)
        gate.let(1)
        served.waits_for(running=0, waiting=0)
        expect(stop).to_be_disabled()
        expect(page.locator("#outputs")).to_have_text(TEXT[:3])


def test_an_error_is_shown_in_the_servers_words_at_its_field(page: Page, playground: tuple[Served, Gate]) -> None:
    """The field that is at fault is marked and focused; the next try clears it."""
    ask(page, top_k=51)
    alert = page.get_by_role("alert")
    expect(alert).to_have_text("top_k is 51; this deployment allows at most 50")
    expect(parameter(page, "top_k")).to_have_attribute("aria-invalid", "true")
    expect(parameter(page, "top_k")).to_be_focused()
    page.get_by_label("Other parameters, as JSON").fill('{"temprature": 1}')
    ask(page, top_k=3)
    expect(alert).to_have_text("there is no parameter temprature; did you mean temperature?")
    expect(parameter(page, "top_k")).not_to_have_attribute("aria-invalid", "true")
    playground[1].open()
    page.get_by_label("Other parameters, as JSON").fill("")
    ask(page, max_new_tokens=5)
    expect(page.locator("#outputs")).to_have_text(TEXT[:4])
    expect(alert).to_be_hidden()


@pytest.mark.parametrize("label", ["seed", "Other parameters, as JSON", "Prompt"])
def test_what_cannot_be_sent_is_told_before(page: Page, label: str) -> None:
    """The server is not asked what it could not understand."""
    page.get_by_label("Prompt").fill("x")
    for text, message in UNSENDABLE[label].items():
        page.get_by_label(label, exact=True).fill(text)
        page.get_by_role("button", name="Send").click()
        expect(page.get_by_role("alert")).to_contain_text(message)
        expect(page.get_by_label(label, exact=True)).to_be_focused()


def test_defaults_are_those_of_this_deployment(page: Page) -> None:
    """Shown, not sent."""
    assert parameter(page, "max_new_tokens").get_attribute("placeholder") == "512"
    assert parameter(page, "top_k").get_attribute("placeholder") == "40, at most 50"
    assert parameter(page, "num_beams").get_attribute("placeholder") == "1 for a stream"
    page.get_by_label("Stream the answer").uncheck()
    assert parameter(page, "num_beams").get_attribute("placeholder") == "4"


def test_the_copied_command_asks_the_same(page: Page, playground: tuple[Served, Gate]) -> None:
    """Run by a real shell, with a prompt full of what shells take apart."""
    playground[1].open()
    page.get_by_label("Stream the answer").uncheck()
    page.get_by_label("Prompt").fill(SHARP)
    parameter(page, "return_full_text").select_option("true")
    parameter(page, "max_new_tokens").fill("60")
    page.get_by_role("button", name="Copy as curl").click()
    expect(page.get_by_role("status")).to_have_text("Copied.")
    command: str = page.evaluate("navigator.clipboard.readText()")
    assert page.get_by_label("The same request with curl").input_value() == command
    found = subprocess.run(["sh", "-c", command], capture_output=True, timeout=30, check=True)
    assert json.loads(found.stdout)["data"][0].startswith(SHARP + TEXT[:5])


def test_the_keyboard_is_enough(page: Page, playground: tuple[Served, Gate]) -> None:
    """The prompt has the focus, Ctrl+Enter sends, and every control has a name."""
    playground[1].open()
    expect(page.get_by_label("Prompt")).to_be_focused()
    page.keyboard.type("x")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("status")).to_have_text("Done.")
    controls = page.locator("input, select, textarea, button")
    nameless = "all => all.filter(one => !one.labels?.length && !one.textContent.trim()).map(one => one.id)"
    assert controls.evaluate_all(nameless) == []


def test_a_key_is_asked_for_when_one_is_needed_and_kept_nowhere(opened: Opened, tmp_path: Path) -> None:
    """In memory only: not in cookies, storage, address or the copied command."""
    key = "sk-only-in-memory"
    (tmp_path / "someone").write_text(key)
    server, _ = serve_mock(playground=True, api_keys_dir=tmp_path)
    with server as served:
        page = opened.page(served.ready())
        field = page.get_by_label("API key")
        ask(page)
        expect(page.get_by_role("alert")).to_contain_text("key")
        expect(field).to_be_focused()
        field.fill(key)
        ask(page)
        expect(page.get_by_role("status")).to_have_text("Done.")
        page.get_by_role("button", name="Copy as curl").click()
        command = page.get_by_label("The same request with curl").input_value()
        assert '"Authorization: Bearer $API_KEY"' in command
        kept = page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, location.href])")
        assert key not in kept + command + json.dumps(opened.context.storage_state())
        page.reload(wait_until="networkidle")  # the server goes next: what still loads would be a complaint
        expect(field).to_have_value("")


def test_a_server_that_is_gone_is_told(opened: Opened) -> None:
    """In words, not in silence."""
    server, _ = serve_mock(playground=True)
    with server as served:
        page = opened.page(served.ready())
        page.locator("#parameter-top_k").wait_for()
    ask(page)
    expect(page.get_by_role("alert")).to_contain_text("The server cannot be reached")
    eventually(lambda: opened.complaints, "the browser's own complaint")
    opened.complaints.clear()


def test_nothing_comes_from_elsewhere(page: Page, opened: Opened, playground: tuple[Served, Gate]) -> None:
    """And what the page asks is its own server's."""
    playground[1].open()
    ask(page)
    expect(page.get_by_role("status")).to_have_text("Done.")
    address = opened.address(playground[0])
    assert [url for url in opened.requests if not url.startswith(address)] == []
