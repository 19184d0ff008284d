"""The kinds of GPU: their tables, and what people call them."""

from __future__ import annotations

import pytest

from ai_how.gpu.catalogue import KINDS, kind_of, profile_by_slices, similar
from ai_how.gpu.geometry import fault, free_starts, largest, states
from ai_how.gpu.model import Kind


def known(name: str) -> Kind:
    kind = kind_of(name)
    assert kind is not None
    return kind


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("NVIDIA A100 80GB", "a100-80"),
        ("A100 80GB PCIe", "a100-80"),
        ("NVIDIA A100-SXM4-40GB", "a100-40"),
        ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", "a100-40"),
        ("nvidia_a100_80gb_pcie", "a100-80"),
        ("A100_40GB", "a100-40"),
        ("a100", "a100-80"),
        ("NVIDIA H100 80GB HBM3", "h100-80"),
        ("H100 PCIe", "h100-80"),
        ("NVIDIA H100 NVL", "h100-94"),
        ("NVIDIA GH200 480GB", "h100-96"),
        ("h200", "h200-141"),
        ("NVIDIA B200", "b200-180"),
        ("NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition", "rtx-pro-6000"),
        ("rtx pro 6000", "rtx-pro-6000"),
        ("NVIDIA RTX 6000", "rtx-6000-ada"),
        ("NVIDIA RTX 6000 Ada Generation", "rtx-6000-ada"),
        ("Quadro RTX 6000", "quadro-rtx-6000"),
        ("RTX4090", "rtx-4090"),
        ("NVIDIA GeForce RTX 4090", "rtx-4090"),
        ("Tesla V100-SXM2-32GB", "v100-32"),
        ("l40s", "l40s"),
    ],
)
def test_what_people_and_nvml_say_is_understood(name: str, key: str) -> None:
    assert known(name).key == key


@pytest.mark.parametrize(
    "name", ["", "NVIDIA A1000", "MI300X", "NVIDIA A100 96GB", "RTX 6000 PRO ADA MAX", "80GB"]
)
def test_what_is_not_known_is_not_guessed(name: str) -> None:
    assert kind_of(name) is None


def test_every_name_in_the_table_is_its_own_kind() -> None:
    for kind in KINDS:
        assert known(kind.key) is kind
        assert [known(product) for product in kind.products] == [kind] * len(kind.products)


def test_a_name_that_is_nearly_known_has_neighbours() -> None:
    assert "NVIDIA H100 NVL" in similar("NVIDIA H10 NVL")
    assert similar("a toaster") == ()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.profiles], ids=lambda kind: kind.key)
def test_tables_agree_with_themselves(kind: Kind) -> None:
    for profile in kind.profiles:
        assert profile.name.startswith(f"{profile.compute}g.{profile.memory_gb}gb")
        assert max(profile.starts) + profile.size <= kind.memory_slices
        most = max(sum(p is profile for _, p in state) for state in states(kind, (profile,)))
        assert most == profile.maximum
    whole = max(kind.profiles, key=lambda profile: profile.size)
    assert (whole.size, whole.compute, whole.memory_gb) == (
        kind.memory_slices,
        kind.compute_slices,
        kind.memory_gb,
    )


def test_the_inferred_tables_say_so() -> None:
    assert {kind.key for kind in KINDS if kind.inferred} == {
        "h100-96",
        "h200-141",
        "rtx-pro-5000",
        "rtx-pro-4500",
    }


@pytest.mark.parametrize(
    ("card", "name", "right"),
    [
        ("a100-80", "1g.5gb", "1g.10gb"),
        ("a100-80", "1g.5gb+me", "1g.10gb+me"),
        ("a100-80", "2g.10gb", "2g.20gb"),
        ("a100-80", "3g.20gb", "3g.40gb"),
        ("a100-80", "7g.79gb", "7g.80gb"),
        ("a100-40", "1g.20gb", "1g.10gb"),
        ("h100-94", "1g.20gb", "1g.24gb"),
        ("h100-94", "1g.10gb", "1g.12gb"),
    ],
)
def test_what_another_cards_profile_is_called_here(card: str, name: str, right: str) -> None:
    found = profile_by_slices(known(card), name)
    assert found is not None and found.name == right


def test_a_profile_that_no_slice_count_explains_is_none() -> None:
    assert profile_by_slices(known("a100"), "5g.50gb") is None
    assert profile_by_slices(known("a100"), "half") is None


@pytest.mark.parametrize(
    ("card", "slices", "why"),
    [
        ("a100", [(0, "3g.40gb"), (4, "3g.40gb")], None),
        ("a100", [(2, "3g.40gb")], "3g.40gb cannot start at memory slice 2"),
        ("a100", [(0, "4g.40gb"), (2, "1g.10gb")], "4g.40gb at 0 and 1g.10gb at 2 overlap"),
        ("a100", [(0, "4g.40gb"), (4, "2g.20gb"), (6, "1g.10gb")], None),
        ("a100", [(0, "4g.40gb"), (4, "3g.40gb")], None),
        ("a100", [(0, "1g.5gb")], "a100-80 has no profile 1g.5gb"),
        ("a100", [(0, "1g.10gb+me"), (1, "1g.10gb+me")], "2 of 1g.10gb+me where at most 1 can be"),
        ("a30", [(0, "1g.6gb+me"), (2, "2g.12gb+me")], "the media engines are given twice"),
        ("rtx-pro-6000", [(0, "1g.24gb+me.all"), (3, "1g.24gb")], "more decoders are given than there are"),
        ("rtx-pro-6000", [(0, "1g.24gb+me.all"), (3, "1g.24gb-me")], None),
    ],
)
def test_what_stands_together(card: str, slices: list[tuple[int, str]], why: str | None) -> None:
    assert fault(known(card), slices) == why


def test_small_slices_at_the_wrong_end_rule_out_large_ones() -> None:
    kind = known("a100")
    one, big = kind.profile("1g.10gb"), kind.profile("4g.40gb")
    assert one and big
    assert free_starts(kind, ((0, one),), big) == ()
    assert free_starts(kind, ((6, one),), big) == (0,)
    left = largest(kind, ((0, one), (4, one)))
    assert left is not None and left.name == "2g.20gb"
