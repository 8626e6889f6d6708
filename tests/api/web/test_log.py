"""The page `/log` and its verifier in a real browser: the same verdict as registry/log/ on every tree and
forgery."""

import base64
import json
import random
from pathlib import Path
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks.browser import Browser, View
from registry import ProofRefused
from registry.log import Kind, SigningKey, canonical, outbox
from registry.log.checkpoint import Checkpoint
from registry.log.merkle import Node, complete_root, consistency_proof, inclusion_proof, leaf_hash, root
from registry.log.receipt import Receipt
from tests.api.conftest import Marked
from tests.api.web.conftest import Site, assert_clean

SIZES = (1, 2, 3, 7, 8, 13, 33)


def tree(size: int) -> Node:
    """Nodes over the leaves b"0", b"1", …"""
    hashes = [leaf_hash(str(i).encode()) for i in range(size)]
    return lambda level, index: complete_root(hashes[index << level : index + 1 << level])


def run(view: View, module: str, body: str, argument: object) -> object:
    """The value of an async function body that sees the module as `m` and the argument as `given`."""
    program = f"async (given) => {{ const m = await import('/web/{module}'); {body} }}"
    return view.page.evaluate(program, argument)


DECODERS = "const hex = (text) => Uint8Array.from(text.match(/../g) ?? [], (two) => parseInt(two, 16));"


def test_proofs_of_every_tree_are_judged_as_the_registry_judges_them(browser: Browser) -> None:
    """Inclusion and consistency, true ones and ones with a bit turned, an entry too many or too few."""
    cases = []
    for size in SIZES:
        node = tree(size)
        for index in range(size):
            proof = inclusion_proof(node, index, size)
            cases.append(
                [
                    "in",
                    index,
                    size,
                    [one.hex() for one in proof],
                    leaf_hash(str(index).encode()).hex(),
                    root(node, size).hex(),
                ]
            )
        for old in range(1, size + 1):
            proof = consistency_proof(node, old, size)
            cases.append(
                [
                    "grows",
                    old,
                    size,
                    [one.hex() for one in proof],
                    root(node, old).hex(),
                    root(node, size).hex(),
                ]
            )
    body = (
        DECODERS
        + """
      const same = (a, b) => a !== null && a.join() === b.join();
      const holds = async (kind, at, size, proof, from, to) => kind === "in"
        ? same(await m.rootFromInclusion(at, size, from, proof), to)
        : m.isConsistent(at, size, from, to, proof);
      const wrong = [];
      for (const [kind, at, size, texts, fromText, toText] of given) {
        const [proof, from, to] = [texts.map(hex), hex(fromText), hex(toText)];
        if (!(await holds(kind, at, size, proof, from, to))) wrong.push(["refused", kind, at, size]);
        const bad = to.slice(); bad[0] ^= 1;
        const forgeries = [[proof, from, bad], [[...proof, to], from, to]];
        if (proof.length) {
          const turned = proof.map((one) => one.slice()); turned[0][5] ^= 4;
          forgeries.push([turned, from, to], [proof.slice(1), from, to]);
        }
        for (const [p, f, r] of forgeries) {
          if (await holds(kind, at, size, p, f, r)) wrong.push(["believed", kind, at, size]);
        }
      }
      return wrong;"""
    )
    with browser.view("/log") as view:
        assert run(view, "merkle.js", body, cases) == []


def test_proofs_that_the_browser_makes_are_those_of_the_registry(browser: Browser) -> None:
    """It proves entries and growth from tiles by itself."""
    body = (
        DECODERS
        + """
      const hexOf = (bytes) => Array.from(bytes, (one) => one.toString(16).padStart(2, "0")).join("");
      const made = [];
      for (const { size, leaves } of given) {
        const node = (level, index) => m.completeRoot(leaves.slice(index * 2 ** level, (index + 1) * 2 **
        level).map(hex)); for (let i = 0; i < size; i++) made.push((await m.inclusionProof(node, i,
        size)).map(hexOf)); for (let old = 1; old <= size; old++) made.push((await m.consistencyProof(node,
        old, size)).map(hexOf));
      }
      return made;"""
    )
    given, wanted = [], []
    for size in SIZES:
        node = tree(size)
        given.append({"size": size, "leaves": [node(0, i).hex() for i in range(size)]})
        wanted += [[one.hex() for one in inclusion_proof(node, i, size)] for i in range(size)]
        wanted += [[one.hex() for one in consistency_proof(node, old, size)] for old in range(1, size + 1)]
    with browser.view("/log") as view:
        assert run(view, "merkle.js", body, given) == wanted


def test_json_is_canonical_in_the_browser_as_in_the_registry(browser: Browser) -> None:
    """Two forms of one result would mean that a genuine one is refused."""
    values = [
        {"b": 1.0, "a": "é", "\U0001f600": [], "\ue000": {}}, [0.1, 1e21, 1e-7, 123456789012345680000.0, -0.0,
        5e-324], {"text": 'quo"te\\ \n\t\u0001 /'}, [None, True, False, [], {}, ""], 1e300, 0.000001,
        [0.12345678901234567],
    ]  # fmt: skip
    with browser.view("/log") as view:
        made = run(
            view,
            "bytes.js",
            "return given.map((one) => m.canonical(JSON.parse(one)));",
            [json.dumps(v) for v in values],
        )
    assert [one.encode() for one in made] == [canonical(value) for value in values]


def receipts_and_forgeries(site: Site, generation_id: str) -> dict[str, bytes]:
    """A receipt, and what it may be changed into: bytes turned, lines moved, another checkpoint."""
    good = site.client.get(f"/v1/log/proof/{generation_id}").content
    rng = random.Random(1)
    found = {"good": good}
    for number in range(60):
        data = bytearray(good)
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(7)
        found[f"turned {number}"] = bytes(data)
    lines = good.split(b"\n")
    for i in range(len(lines)):
        found[f"without line {i}"] = b"\n".join(lines[:i] + lines[i + 1 :])
    index = next(line for line in lines if line.startswith(b"index "))
    for other in (
        b"index 0",
        b"index 1",
        b"index 99999",
        b"index -1",
        b"index 01",
        b"index 1e3",
        index + b" x",
    ):
        found[other.decode()] = good.replace(index, other)
    extra = json.loads(base64.b64decode(lines[1][6:]))
    forged = canonical(
        {**extra, "leaf": extra["leaf"].replace("complete", "aborted").replace("finished", "aborted")}
    )
    found["another leaf"] = good.replace(lines[1], b"extra " + base64.b64encode(forged))
    more = canonical({**extra, "more": 1})
    found["more beside the leaf"] = good.replace(lines[1], b"extra " + base64.b64encode(more))
    found["empty"] = b""
    return found


def test_receipts_and_forgeries_are_judged_as_the_registry_judges_them(
    browser: Browser, site: Site, kathleen: Marked
) -> None:
    """A second verifier is worth something only when it refuses all that the first refuses."""
    receipts = receipts_and_forgeries(site, kathleen.generation_id)
    trust = site.service.registry.log.signer.trust
    wanted = {}
    for name, data in receipts.items():
        try:
            Receipt.parse(data).verify(trust)
            wanted[name] = True
        except ProofRefused:
            wanted[name] = False
    body = """
      const { serverKey } = await import("/web/tiles.js");
      const key = await serverKey();
      const judged = {};
      for (const [name, encoded] of Object.entries(given)) {
        const bytes = Uint8Array.from(atob(encoded), (c) => c.charCodeAt(0));
        try {
          judged[name] = (await m.checkReceipt(m.parseReceipt(bytes), key)).valid;
        } catch {
          judged[name] = false;
        }
      }
      return judged;"""
    with browser.view("/log") as view:
        given = {name: base64.b64encode(data).decode() for name, data in receipts.items()}
        judged = run(view, "receipt.js", body, given)
    assert judged == wanted
    assert [name for name, valid in wanted.items() if valid] == ["good"]


# the page


def test_the_signed_tree_is_checked_and_remembered_and_growth_is_drawn(
    browser: Browser, site: Site, kathleen: Marked
) -> None:
    with browser.view("/log") as view:
        view.page.wait_for_selector("text=The signature is genuine")
        assert "for the first time" in view.page.inner_text("#checkpoint-checks")
        view.page.wait_for_selector("#growth svg")
        size = view.page.inner_text("#checkpoint-facts dd >> nth=1")
        assert view.shifted < 0.02
        site.mark("adocampo")
        view.page.reload(wait_until="networkidle")
        view.page.wait_for_selector(
            f"text=the tree of {size} entries that this browser saw then is its beginning"
        )
        assert_clean(view, browser)


def test_a_rewritten_log_is_called_rewritten(browser: Browser, site: Site, kathleen: Marked) -> None:
    """The remembered tree is changed here, which looks the same to the browser as a log that was."""
    with browser.view("/log") as view:
        view.page.wait_for_selector("text=for the first time")
        view.page.evaluate(
            """() => { const name = Object.keys(localStorage)[0];
            const seen = JSON.parse(localStorage[name]);
            seen.root = btoa("x".repeat(32)); seen.size = seen.size - 1;
            localStorage[name] = JSON.stringify(seen); }"""
        )
        view.page.reload(wait_until="networkidle")
        view.page.wait_for_selector("text=REWRITTEN")
        view.page.reload(wait_until="networkidle")  # and it does not forget what it saw
        view.page.wait_for_selector("text=REWRITTEN")


def test_another_logs_key_refuses_the_tree(browser: Browser, site: Site) -> None:
    name = site.service.registry.log.key.verifier.name
    other = SigningKey(name, Ed25519PrivateKey.generate()).verifier
    with browser.view("/log") as view:
        view.page.wait_for_selector("text=The signature is genuine")
        view.page.click("text=Use a key that you got elsewhere")
        for key, said in (
            (str(other), "The signature does not hold"),
            (str(other).replace(other.key_id.hex(), "01234567"), "damaged"),
            ("nonsense", "looks like"),
        ):
            view.page.fill("#key", key)
            view.page.press("#key", "Enter")
            view.page.wait_for_selector(f"#checkpoint-checks >> text={said}")
        assert_clean(view, browser)


def test_an_entry_is_proved_by_its_generation_id_and_a_receipt_by_its_file(
    browser: Browser, site: Site, kathleen: Marked, tmp_path: Path
) -> None:
    with browser.view(f"/log#{kathleen.generation_id}") as view:
        view.page.wait_for_selector("#proof [data-valid=true]")
        assert kathleen.content_id in view.page.inner_text("#proof")
        view.page.fill("#generation", "not an id")
        view.page.press("#generation", "Enter")
        view.page.wait_for_selector("text=32 hexadecimal digits")
        view.page.fill("#generation", "01a20aeb-ad4e-75fa-95bd-65dc73232b53")
        view.page.press("#generation", "Enter")
        view.page.wait_for_selector("text=There is no such generation.")
        good = site.client.get(f"/v1/log/proof/{kathleen.generation_id}").content
        path = tmp_path / "a.tlog-proof"
        path.write_bytes(good.replace(b"\nindex ", b"\nindex 1"))
        view.page.set_input_files("#receipt-file", path)
        view.page.wait_for_selector("#proof [data-valid=false]")
        assert_clean(view, browser)


def test_a_receipt_with_its_salt_knows_the_file(
    browser: Browser, site: Site, kathleen: Marked, tmp_path: Path
) -> None:
    receipt = site.service.registry.log.wait(UUID(kathleen.generation_id)).encode()
    (tmp_path / "a.tlog-proof").write_bytes(receipt)
    (tmp_path / "a.flac").write_bytes(kathleen.data)
    (tmp_path / "b.flac").write_bytes(kathleen.data + b"x")
    with browser.view("/log") as view:
        view.page.set_input_files("#receipt-file", tmp_path / "a.tlog-proof")
        view.page.wait_for_selector("#proof [data-valid=true]")
        view.page.set_input_files("#proof input[type=file]", tmp_path / "a.flac")
        view.page.wait_for_selector("text=byte for byte, the file that was released")
        view.page.set_input_files("#proof input[type=file]", tmp_path / "b.flac")
        view.page.wait_for_selector("text=This is not, byte for byte")


def test_the_list_is_for_audit_keys_and_the_key_is_kept_nowhere(
    browser: Browser, site: Site, kathleen: Marked
) -> None:
    with browser.view("/log") as view:
        view.page.fill("#audit-key", "earmark_wrong")
        view.page.press("#audit-key", "Enter")
        view.page.wait_for_selector("text=This API key is not valid.")
        view.page.fill("#audit-key", site.key)
        view.page.select_option("#state", "complete")
        view.page.press("#audit-key", "Enter")
        view.page.click(f"#listed >> text={kathleen.generation_id}")
        view.page.wait_for_selector("#proof [data-valid=true]")
        stored = view.page.evaluate("JSON.stringify({...localStorage, ...sessionStorage}) + document.cookie")
        assert site.key not in stored
        assert_clean(view, browser)


def test_a_log_of_many_tiles_is_proved_and_drawn(browser: Browser, site: Site, kathleen: Marked) -> None:
    """Beyond 256 entries a tree has tiles of tiles, and beyond MAX_BUNDLES of them the plot is sampled."""
    log = site.service.registry.log
    with browser.view("/log") as view:
        view.page.wait_for_selector("#growth svg")
        with site.service.registry._database.transaction() as connection:
            for number in range(256 * 13):
                outbox.statement(connection, Kind.POLICY_CHANGE, {"text": f"statement {number}"})
        log.state(Kind.POLICY_CHANGE, {"text": "the last one"}, timeout_s=60)
        size = Checkpoint.of(log.checkpoint()).size
        view.page.reload(wait_until="networkidle")
        view.page.wait_for_selector("text=that this browser saw then is its beginning")
        label = view.page.wait_for_selector("#growth svg").get_attribute("aria-label")
        assert f"{size:,} entries" in label
        indices = [0, 255, 256, 1000, size - 2, size - 1]
        body = """
          const entries = [];
          for (const index of given) entries.push((await m.provenEntry(index)).entry);
          return entries;"""
        assert run(view, "tiles.js", body, indices) == [json.loads(log.entry_at(i).leaf) for i in indices]
        assert_clean(view, browser)
