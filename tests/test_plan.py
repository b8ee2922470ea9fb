"""What plan.c decides: the default scale to twice the digits, tiles that fit the caches, and how
blocks and chunks are shared out."""

import subprocess
from dataclasses import astuple, dataclass
from fractions import Fraction

import pytest

from programs import compile_program


@dataclass
class Call:
    n_q: int = 1000
    n_k: int = 1000
    d: int = 8
    d_v: int = 8
    n_heads: int = 1
    n_kv_heads: int = 1
    f64: int = 0
    causal: int = 0
    scaled: int = 0
    scale: float = 0.0
    keeps_p: int = 0
    planes: int = 1  # key heads of all batch entries
    together: int = 1  # of which so many are one thread's
    threads: int = 1


@dataclass
class Plan:
    group: int
    scale: Fraction
    scale_low: Fraction
    tile_keys: int
    packed_keys: bool
    fetches_ahead: bool
    n_threads: int
    block_rows: int
    blocks_per_head: int
    n_chunks: int
    last_first: bool
    blocks: list[tuple[int, int]]  # the rows of each, in the order in which they are taken


@pytest.fixture(scope="module")
def planner(tmp_path_factory):
    return compile_program(tmp_path_factory.mktemp("plan"), "plan_fields", "plan")


@pytest.fixture
def plan(planner):
    def decide(**sizes):
        line = " ".join(str(field) for field in astuple(Call(**sizes)))
        run = subprocess.run([planner], input=line, capture_output=True, text=True, check=True,
                             timeout=20)  # fmt: skip
        group, scale, low, *rest = run.stdout.split()
        exact = [Fraction(float.fromhex(number)) for number in (scale, low)]
        keys, packed, fetches, threads, rows, blocks, chunks, last_first, *ends = map(int, rest)
        ranges = list(zip(ends[::2], ends[1::2], strict=True))
        return Plan(int(group), *exact, keys, bool(packed), bool(fetches), threads, rows, blocks,
                    chunks, bool(last_first), ranges)  # fmt: skip

    return decide


@pytest.mark.parametrize("d", [1, 2, 3, 5, 64, 80, 100, 127, 12345, 2**40 + 1])
def test_default_scale(plan, d):
    """scale + scale_low is 1 / sqrt(d) to about 2^-104; scale alone is the float64 next to it."""
    p = plan(d=d)
    assert abs((p.scale + p.scale_low) ** 2 * d - 1) < Fraction(1, 2**102)
    assert abs(p.scale_low) <= p.scale / 2**52


def test_scale_of_no_features_and_of_the_caller(plan):
    for p, scale in ((plan(d=0), 1), (plan(d=3, scaled=1, scale=0.7), Fraction(0.7))):
        assert (p.scale, p.scale_low) == (scale, 0)


@pytest.mark.parametrize(("n_q", "heads", "kv_heads", "packed", "group"), [
    (8, 1, 1, False, 1), (9, 1, 1, True, 1), (2, 8, 2, False, 4), (3, 9, 3, True, 3),
    (1, 8, 1, False, 8), (1, 9, 1, True, 9), (9, 0, 0, True, 1), (9, 5, 5, True, 1),
])  # fmt: skip
def test_few_rows_read_keys_as_they_lie(plan, n_q, heads, kv_heads, packed, group):
    for n_k in (65, 1000):
        p = plan(n_q=n_q, n_k=n_k, n_heads=heads, n_kv_heads=kv_heads)
        assert (p.packed_keys, p.group) == (packed, group)


@pytest.mark.parametrize(("rows", "n_k", "d", "packed"), [
    (16, 1024, 128, False), (17, 1024, 128, True), (9, 1023, 128, True), (9, 1024, 127, True),
    (9, 100_000, 300, False),
])  # fmt: skip
def test_a_few_more_rows_read_many_long_keys_as_they_lie(plan, rows, n_k, d, packed):
    assert plan(n_q=rows, n_k=n_k, d=d).packed_keys == packed


@pytest.mark.parametrize(("n_q", "heads", "kv_heads", "packed"), [
    (2, 1, 1, False), (3, 1, 1, True), (1, 4, 2, False), (1, 3, 1, True), (2, 4, 2, True),
])  # fmt: skip
def test_few_rows_over_few_keys_do_not(plan, n_q, heads, kv_heads, packed):
    for n_k in (0, 1, 64):
        assert plan(n_q=n_q, n_k=n_k, n_heads=heads, n_kv_heads=kv_heads).packed_keys == packed


@pytest.mark.parametrize(("d", "d_v", "f64", "many_rows", "few_rows"), [
    (64, 64, 0, 512, 512), (128, 128, 0, 512, 512), (128, 129, 0, 512, 256), (1, 255, 0, 512, 512),
    (256, 256, 0, 512, 256), (256, 257, 0, 256, 128), (257, 256, 0, 256, 128),
    (1, 511, 0, 512, 256),
    (512, 512, 0, 256, 128), (512, 513, 0, 128, 128), (64, 64, 1, 512, 512), (64, 65, 1, 512, 256),
    (128, 128, 1, 512, 256), (128, 129, 1, 256, 128), (256, 257, 1, 128, 128),
    (9999, 9999, 1, 128, 128), (0, 0, 0, 512, 512),
])  # fmt: skip
def test_keys_and_values_of_a_tile_fit_in_1_mib_or_512_kib(plan, d, d_v, f64, many_rows, few_rows):
    assert plan(d=d, d_v=d_v, f64=f64, n_q=129).tile_keys == many_rows
    assert plan(d=d, d_v=d_v, f64=f64, n_q=8).tile_keys == few_rows


@pytest.mark.parametrize(("d", "d_v", "f64", "keys"), [
    (64, 64, 0, 512), (64, 65, 0, 256), (128, 128, 0, 256), (128, 129, 0, 128),
    (999, 999, 0, 128), (32, 32, 1, 512), (64, 64, 1, 256), (0, 0, 1, 512),
])  # fmt: skip
def test_a_tile_that_the_next_is_fetched_beside_fits_in_256_kib(plan, d, d_v, f64, keys):
    for rows in (17, 128):
        p = plan(d=d, d_v=d_v, f64=f64, n_q=rows)
        assert (p.packed_keys, p.fetches_ahead, p.tile_keys) == (True, True, keys)
    for rows in (8, 129):
        assert not plan(d=d, d_v=d_v, f64=f64, n_q=rows).fetches_ahead
    assert plan(d=d, d_v=d_v, f64=f64, n_q=16, n_heads=8).fetches_ahead


@pytest.mark.parametrize(("n_q", "n_k", "d", "d_v", "planes", "threads", "n_threads"), [
    (100, 100, 12, 12, 1, 8, 1), (100, 100, 12, 12, 2, 8, 2), (100, 100, 12, 13, 40, 64, 41),
    (100, 199, 12, 12, 1, 8, 1), (200, 100, 13, 12, 1, 8, 2), (100, 100, 12, 12, 7, 8, 7),
    (100, 100, 12, 12, 9, 8, 8), (1, 1, 1, 1, 1, 8, 1), (100, 100, 12, 12, 99, 1, 1),
])  # fmt: skip
def test_a_thread_for_400_000_multiply_adds(plan, n_q, n_k, d, d_v, planes, threads, n_threads):
    """... where 16 for each score stand for the exponential."""
    sizes = {"n_q": n_q, "n_k": n_k, "d": d, "d_v": d_v, "planes": planes}
    assert plan(**sizes, threads=threads).n_threads == n_threads


@pytest.mark.parametrize(("n_q", "n_heads", "d", "d_v", "keeps_p", "rows", "blocks"), [
    (10, 1, 8, 8, 0, 10, 1), (10, 5, 8, 8, 0, 50, 1), (0, 1, 8, 8, 0, 0, 0),
    (1536, 1, 8, 8, 0, 1536, 1), (1537, 1, 8, 8, 0, 792, 2), (800, 4, 8, 8, 0, 1080, 3),
    (4096, 1, 64, 64, 0, 1368, 3), (7680, 1, 340, 0, 0, 1536, 5), (7680, 1, 341, 0, 0, 1296, 6),
    (7680, 1, 0, 170, 0, 1536, 5), (7680, 1, 0, 171, 0, 1296, 6), (2000, 1, 256, 256, 0, 672, 3),
    (2000, 1, 1000, 1000, 0, 96, 21), (100, 1, 9999, 9999, 0, 72, 2), (2000, 1, 8, 8, 1, 504, 4),
])  # fmt: skip
def test_blocks_of_rows_fit_in_4_mib_and_are_about_equal(
    plan, n_q, n_heads, d, d_v, keeps_p, rows, blocks
):
    p = plan(n_q=n_q, n_heads=n_heads, d=d, d_v=d_v, keeps_p=keeps_p)
    assert (p.block_rows, p.blocks_per_head) == (rows, blocks)
    assert p.n_chunks == 1


@pytest.mark.parametrize(("n_k", "rows"), [
    (341, 1536), (342, 1296), (2730, 192), (2731, 168), (3640, 144), (3641, 144), (14_563, 144),
    (14_564, 120), (17_476, 120), (17_477, 96), (21_845, 96), (21_846, 72), (29_127, 72),
    (29_128, 48), (43_690, 48), (43_691, 24), (1_000_000, 24),
])  # fmt: skip
def test_kept_weights_fit_in_2_mib_or_8(plan, n_k, rows):
    """More than 2 where that would leave fewer than 144 rows, more than 8 for fewer than 24."""
    assert plan(n_q=7680, n_k=n_k, keeps_p=1).block_rows == rows
    assert plan(n_q=7680, n_k=n_k).block_rows == 1536


@pytest.mark.parametrize(("planes", "together"), [(8, 8), (80, 16), (6, 2)])
def test_heads_that_are_averaged_are_one_items(plan, planes, together):
    """As many threads as for all heads, as many blocks as for the items."""
    p = plan(n_k=10_000, planes=planes, together=together, threads=2)
    assert p == plan(n_k=10_000, planes=planes // together, threads=2)


@pytest.mark.parametrize(("n_q", "planes", "threads", "rows", "blocks"), [
    (1000, 1, 2, 96, 11), (1000, 3, 2, 336, 3), (1000, 4, 2, 504, 2), (1000, 9, 2, 1000, 1),
    (1000, 1, 1, 1000, 1), (300, 2, 4, 96, 4), (1536, 8, 2, 1536, 1), (1536, 7, 2, 768, 2),
    (4096, 1, 2, 528, 8),
])  # fmt: skip
def test_four_blocks_for_a_thread(plan, n_q, planes, threads, rows, blocks):
    p = plan(n_q=n_q, n_k=10_000, planes=planes, threads=threads)
    assert (p.block_rows, p.blocks_per_head, p.n_threads) == (rows, blocks, threads)


@pytest.mark.parametrize(("n", "threads", "rows"), [
    (700, 2, 96), (1000, 2, 120), (1000, 4, 96), (4000, 8, 96), (4000, 2, 144),
])  # fmt: skip
def test_threads_share_no_less_than_96_rows_of_kept_weights(plan, n, threads, rows):
    """Steps of 24 rows for what is kept, of 96 for threads, end at 96."""
    assert plan(n_q=n, n_k=n, keeps_p=1, threads=threads).block_rows == rows


@pytest.mark.parametrize(("n_q", "n_k", "planes", "threads", "chunks"), [
    (1, 100_000, 1, 2, 196), (1, 100_000, 1, 1, 1), (1, 10_000, 3, 2, 20), (1, 10_000, 4, 2, 1),
    (1, 10_240, 3, 2, 20), (1, 10_241, 3, 2, 21), (1, 512, 1, 2, 1), (1, 513, 1, 2, 2),
    (1, 500, 1, 2, 1), (97, 512, 1, 2, 1), (97, 513, 1, 2, 2), (300, 5000, 1, 2, 1),
])  # fmt: skip
def test_chunks_of_512_keys_where_blocks_are_few(plan, n_q, n_k, planes, threads, chunks):
    p = plan(n_q=n_q, n_k=n_k, d=2000, d_v=2000, planes=planes, threads=threads)
    assert (p.n_threads, p.n_chunks) == (threads, chunks)


def test_causal_rows_go_last_first(plan):
    assert [plan(causal=causal).last_first for causal in (0, 1)] == [False, True]
    blocks = [(0, 1368), (1368, 2736), (2736, 4096)]
    assert plan(n_q=4096, d=64, d_v=64).blocks == blocks
    assert plan(n_q=4096, d=64, d_v=64, causal=1).blocks == blocks[::-1]
