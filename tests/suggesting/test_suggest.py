import random
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

import workbench as wb
from tests.suggesting.published import PORTS, Names, Port
from workbench.suggesting import suggest
from workbench.suggesting.align import Item, align
from workbench.target import Entry, Target


def rows(shapes):
    return [(key, shape, "float32") for key, shape in shapes.items()]


def apply(rules, keys):
    return wb.Mapping([wb.Rule(*rule) for rule in rules]).remap_keys(list(keys))


def texts(suggestions):
    return [(suggestion.rule.pattern, suggestion.rule.replacement) for suggestion in suggestions.rules]


def sources_of(rules, port):
    """For each tensor of the target: the keys that the rules bring to it."""
    found = {}
    for key, name in zip(port.source, apply(rules, port.source), strict=True):
        if name in port.target:
            found.setdefault(name, []).append(key)
    return found


@cache
def made(port):
    """A port and what is suggested for it."""
    ready = port()
    return ready, suggest(rows(ready.source), rows(ready.target))


@pytest.mark.parametrize("port", PORTS, ids=lambda port: port.__name__)
class TestPublishedNames:
    def test_the_rules_of_a_person_reach_every_tensor_of_the_target(self, port):
        port = port()
        found = sources_of(port.person, port)
        assert {name for name, keys in found.items() if len(keys) == 1} == set(port.target)
        assert all(port.source[keys[0]] == port.target[name] for name, keys in found.items())

    def test_no_more_rules_than_a_person_wrote_bring_each_tensor_to_its_place(self, port):
        port, suggestions = made(port)
        assert suggestions.coverage_after == suggestions.total == len(port.target)
        assert sources_of(texts(suggestions), port) == sources_of(port.person, port)
        assert len(suggestions.rules) <= len(port.person)

    def test_a_target_in_alphabetical_order_never_gets_a_wrong_tensor(self, port):
        port = port()
        suggestions = suggest(rows(port.source), sorted(rows(port.target)))
        person = sources_of(port.person, port)
        assert all(person[name] == keys for name, keys in sources_of(texts(suggestions), port).items())
        assert suggestions.coverage_after + len(suggestions.ambiguous) >= len(port.target) * 0.9

    def test_the_way_back_brings_each_tensor_to_its_place_too(self, port):
        port = port()
        there = {keys[0]: name for name, keys in sources_of(port.person, port).items()}
        back = Port(port.target, {key: port.source[key] for key in there})
        suggestions = suggest(rows(back.source), rows(back.target))
        assert suggestions.coverage_after == suggestions.total
        assert sources_of(texts(suggestions), back) == {key: [name] for key, name in there.items()}

    def test_every_rule_says_what_is_lost_without_it(self, port):
        port, suggestions = made(port)
        rules = texts(suggestions)
        for n, suggestion in enumerate(suggestions.rules):
            found = sources_of([*rules[:n], *rules[n + 1 :]], port)
            fitting = [
                name for name, keys in found.items() if [port.source[key] for key in keys] == [port.target[name]]
            ]
            assert suggestion.gains == len(port.target) - len(fitting) > 0
            assert suggestion.examples
            assert all(old != new for old, new in suggestion.examples)


def test_interchangeable_tensors_are_left_out_and_listed():
    source = [("net.x.left.weight", (4, 4), None), ("net.x.right.weight", (4, 4), None), ("net.y.weight", (4, 8), None)]
    target = [("x.one.weight", (4, 4), None), ("x.two.weight", (4, 4), None), ("y.weight", (4, 8), None)]
    suggestions = suggest(source, target)
    after = apply(texts(suggestions), [key for key, _, _ in source])
    assert "y.weight" in after
    assert not {"x.one.weight", "x.two.weight"} & set(after)
    assert {item.key: set(item.candidates) for item in suggestions.ambiguous} == {
        name: {"net.x.left.weight", "net.x.right.weight"} for name in ("x.one.weight", "x.two.weight")
    }


def test_a_query_is_never_taken_for_a_key_even_when_nothing_else_is_left():
    source = [("a.query.weight", (4, 4), None), ("a.value.weight", (4, 4), None)]
    target = [("a.q_proj.weight", (4, 4), None), ("a.k_proj.weight", (4, 4), None)]
    suggestions = suggest(source, target)
    assert apply(texts(suggestions), [key for key, _, _ in source]) == ["a.q_proj.weight", "a.value.weight"]


def test_two_copies_of_one_network_are_no_reason_to_choose_one():
    copies = [(f"{side}.conv{n}.weight", (4, n), None) for side in ("alpha", "omega") for n in (1, 2, 3)]
    suggestions = suggest(copies, [(f"conv{n}.weight", (4, n), None) for n in (1, 2, 3)])
    assert not suggestions.rules
    assert len(suggestions.ambiguous) == 3


def test_numbers_are_an_order_for_equal_shapes():
    source = [(f"features.{n}.weight", (8, 8, 3, 3), None) for n in (0, 2, 5, 10)]
    target = [(f"conv{n}.weight", (8, 8, 3, 3), None) for n in (1, 2, 3, 4)]
    pairs = align([Item(*row) for row in random.Random(1).sample(source, 4)], [Item(*row) for row in target]).pairs
    assert dict(pairs) == {
        f"features.{n}.weight": f"conv{m}.weight" for n, m in zip((0, 2, 5, 10), (1, 2, 3, 4), strict=True)
    }


RUST = """
#[derive(Module, Debug)]
pub struct Net<B: Backend> {
    head: Linear<B>,
    norm: LayerNorm<B>,
    blocks: Vec<Block<B>>,
}

#[derive(Module, Debug)]
pub struct Block<B: Backend> {
    fc1: Linear<B>,
    fc2: Linear<B>,
}
"""


def saved(path, shapes):
    save_file({key: np.zeros(shape, np.float32) for key, shape in shapes.items()}, path)
    return wb.open(path)


def test_a_checkpoint_fits_a_target_from_rust_source(tmp_path):
    shapes = {"module.head.weight": (3, 5), "module.head.bias": (3,), "module.ln.weight": (5,), "module.ln.bias": (5,)}
    for n in range(3):
        shapes |= {f"module.layer.{n}.fc1.weight": (7, 5), f"module.layer.{n}.fc1.bias": (7,)}
        shapes |= {f"module.layer.{n}.fc2.weight": (5, 7), f"module.layer.{n}.fc2.bias": (5,)}
    checkpoint = saved(tmp_path / "net.safetensors", shapes)
    target = Target.from_rust(RUST, root="Net")
    suggestions = suggest(checkpoint, target)
    plan = wb.Mapping([suggestion.rule for suggestion in suggestions.rules]).plan(checkpoint, target)
    coverage = plan.coverage(target)
    assert (suggestions.coverage_after, suggestions.total) == (len(coverage.applied), coverage.n_total)
    assert suggestions.coverage_before == len(wb.Mapping().plan(checkpoint).coverage(target).applied)
    assert coverage.complete
    wanted = [("module.", ""), ("layer.", "blocks."), ("ln.weight", "norm.gamma"), ("ln.bias", "norm.beta")]
    for original, remapped in zip(plan.originals, plan.remapped, strict=True):
        for old, new in wanted:
            original = original.replace(old, new)
        assert remapped == original


def test_a_transposed_weight_fits_only_where_the_target_says_linear(tmp_path):
    checkpoint = saved(tmp_path / "net.safetensors", {"module.fc.weight": (3, 5), "module.fc.bias": (3,)})
    assert suggest(checkpoint, [("fc.weight", (5, 3), None)]).coverage_after == 0
    linear = ("Struct:Net", "Struct:Linear")
    entries = (Entry("fc.weight", (5, 3), None, None, linear), Entry("fc.bias", (3,), None, None, linear))
    target = Target(entries, "by hand")
    suggestions = suggest(checkpoint, target, wb.Mapping(layout=wb.Layout(adapt=True)))
    assert texts(suggestions) == [(r"^module\.", "")]
    assert suggestions.coverage_after == 2


def test_skipped_tensors_are_not_used(tmp_path):
    checkpoint = saved(tmp_path / "net.safetensors", {"a.fc.weight": (3, 5), "b.fc.weight": (3, 5)})
    target = [("fc.weight", (3, 5), None)]
    assert suggest(checkpoint, target).rules == ()
    mapping = wb.Mapping(selection=wb.Selection(exclude=(wb.Pick("node", "b"),)))
    assert texts(suggest(checkpoint, target, mapping)) == [(r"^a\.", "")]
    assert suggest(mapping.plan(checkpoint), target) == suggest(checkpoint, target, mapping)


def test_names_alone_are_enough_where_shapes_are_not_known():
    port = PORTS[6]()
    suggestions = suggest([(key, None, None) for key in port.source], [(key, None, None) for key in port.target])
    person = sources_of(port.person, port)
    found = sources_of(texts(suggestions), port)
    assert all(person[name] == keys for name, keys in found.items())
    assert suggestions.coverage_after >= len(port.target) - 2


def test_rules_come_after_those_of_the_mapping():
    source = [(f"module.encoder.layer.{n}.fc.weight", (4, 4), None) for n in range(3)]
    target = [(f"encoder.layers.{n}.fc.weight", (4, 4), None) for n in range(3)]
    mapping = wb.Mapping([wb.Rule(r"^module\.", "")])
    suggestions = suggest(source, target, mapping)
    assert texts(suggestions) == [(r"\.layer\.", ".layers.")]
    rules = [*mapping.rules, *(suggestion.rule for suggestion in suggestions.rules)]
    assert wb.Mapping(rules).remap_keys([key for key, _, _ in source]) == [key for key, _, _ in target]


def test_gaps_that_burn_closes_need_no_rule():
    source = [(f"net.fc.{2 * n}.weight", (n + 1, n + 2), None) for n in range(3)]
    target = [(f"fc.{n}.weight", (n + 1, n + 2), None) for n in range(3)]
    suggestions = suggest(source, target, wb.Mapping(reindex=True))
    assert texts(suggestions) == [(r"^net\.", "")]
    assert suggestions.coverage_after == 3


def test_other_keys_of_the_file_never_become_a_tensor_of_the_target():
    names = Names()
    for n in range(4):
        names.lin(f"backbone.blocks.{n}.fc", 4 + n, 4)
    target = {key.removeprefix("backbone."): shape for key, shape in names.shapes.items()}
    extra = {f"teacher.blocks.{n}.fc.weight": (4, 4) for n in range(4)}
    suggestions = suggest(rows(names.shapes | extra), rows(target))
    after = apply(texts(suggestions), extra)
    assert not set(after) & set(target)
    assert suggestions.coverage_after == len(target)


def test_keys_that_are_not_text_or_look_like_patterns_do_no_harm():
    source = [("a.\ud800.weight", (2,), None), ("x$1.(w+)[0].weight", (2, 3), None), ("*", (7,), None)]
    target = [("y$0.(w+)[0].weight", (2, 3), None), ("\ud800", (2,), None)]
    suggestions = suggest(source, target)
    assert suggestions.coverage_after == 1
    assert apply(texts(suggestions), [source[1][0]]) == [target[0][0]]


def test_names_too_deep_or_too_many_are_said_not_searched():
    deep = ".".join(["a"] * 5000)
    suggestions = suggest([(deep, (1,), None), ("x.b", (2, 2), None)], [(f"{deep}.b", (1,), None), ("b", (2, 2), None)])
    assert suggestions.coverage_after == 1
    assert "segments were left out" in suggestions.note
    letters = str.maketrans("0123456789", "abcdefghij")
    many = [(f"{n}".translate(letters), (n,), None) for n in range(12_001)]
    assert "not" not in suggest(many[:10], many[:10]).note
    assert "are compared" in suggest(many, many).note


def test_nothing_in_means_nothing_suggested():
    assert suggest([], []).rules == ()
    assert suggest([], [("a", (1,), None)]).total == 1
    assert suggest([("a", (1,), None)], []).rules == ()


segments = st.sampled_from(["a", "b", "layer", "layers", "attn", "attention", "query", "q", "0", "1", "7", "bn1", "$x"])
names = st.lists(
    st.tuples(st.lists(segments, max_size=3), st.sampled_from(["weight", "bias", "gamma", "beta", "p"])).map(
        lambda parts: ".".join([*parts[0], parts[1]])
    ),
    unique=True,
    max_size=10,
)
shapes = st.sampled_from([None, (), (2,), (2, 3), (3, 2), (2, 2)])


@st.composite
def listed(draw):
    return [(name, draw(shapes), None) for name in draw(names)]


def covered(rules, source, target):
    shape_of = {key: shape for key, shape, _ in target}
    reached = {}
    for (_, shape, _), name in zip(source, apply(rules, [key for key, _, _ in source]), strict=True):
        if name in shape_of:
            reached.setdefault(name, []).append(shape)
    return {
        name
        for name, found in reached.items()
        if len(found) == 1 and (None in (found[0], shape_of[name]) or found[0] == shape_of[name])
    }


@settings(deadline=None, max_examples=150)
@given(listed(), listed())
def test_no_suggested_rule_lowers_coverage(source, target):
    suggestions = suggest(source, target)
    rules = texts(suggestions)
    reached = [covered(rules[:n], source, target) for n in range(len(rules) + 1)]
    assert all(before <= after for before, after in pairwise(reached))
    assert (suggestions.coverage_before, suggestions.coverage_after) == (len(reached[0]), len(reached[-1]))
    assert suggestions.total == len(target)


@settings(deadline=None, max_examples=50)
@given(listed())
def test_a_file_that_fits_needs_no_rule(source):
    suggestions = suggest(source, source)
    assert suggestions.rules == ()
    assert suggestions.coverage_before == suggestions.total


def test_suggestions_are_the_same_every_time():
    port = PORTS[7]()
    first = suggest(rows(port.source), rows(port.target))
    assert first == suggest(rows(port.source), rows(port.target))
