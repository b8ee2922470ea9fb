"""What arrays and numbers may come in as, in the C function: objects of other libraries, mixed and
foreign types, subclasses of str and int, and what goes wrong while they are asked."""

import ml_dtypes
import numpy as np
import pytest

import selfattn
from arrays import same_bits

F = np.float32
X = np.random.default_rng(3).standard_normal((2, 5, 4)).astype(F)


def attend(query=X, key=X, value=X, **options):
    return selfattn.attention(query, key, value, **options)


class Elsewhere:
    """An array on another device, as far as DLPack tells."""

    def __init__(self, *device):
        self.device = device

    def __dlpack__(self, **keywords):
        raise AssertionError("asked for memory that the host cannot read")

    def __dlpack_device__(self):
        return self.device


@pytest.mark.parametrize(("device", "name"), [
    ((2, 0), "CUDA"), ((4, 1), "OpenCL"), ((7, 0), "Vulkan"), ((8, 0), "Metal"), ((10, 3), "ROCm"),
    ((14, 0), "oneAPI"), ((9, 0), "DLPack"), ((12, 0), "DLPack"),
])  # fmt: skip
def test_other_devices_are_named(device, name):
    with pytest.raises(TypeError, match=f"key is on a {name} device .*copy it to the host"):
        attend(key=Elsewhere(*device))


@pytest.mark.parametrize("device", [(), ("gpu", 0), (2**80, 0)])
def test_devices_that_make_no_sense(device):
    with pytest.raises((TypeError, ValueError), match="key cannot be read as an array"):
        attend(key=Elsewhere(*device))


class Lent:
    """Speaks DLPack for memory of the host; `broken` names what raises."""

    def __init__(self, array, device=1, broken=None, error=RuntimeError):
        self.array, self.device, self.broken, self.error = array, device, broken, error

    def raises(self, name):
        if self.broken == name:
            raise self.error(f"{name} is broken")

    def __dlpack__(self, **keywords):
        self.raises("__dlpack__")
        return self.array.__dlpack__()

    def __dlpack_device__(self):
        self.raises("__dlpack_device__")
        return (self.device, 0)


class LentWithArray(Lent):
    def __array__(self, dtype=None, copy=None):
        self.raises("__array__")
        return self.array


@pytest.mark.parametrize("kind", [Lent, LentWithArray])
@pytest.mark.parametrize("device", [1, 3, 11])
def test_host_memory_that_others_lend(kind, device):
    """Pinned host memory of a GPU's library (3, 11) is host memory."""
    assert same_bits(attend(key=kind(X, device)), attend())


def test_what_dlpack_cannot_carry_comes_by_array():
    brain = X.astype(ml_dtypes.bfloat16)
    assert same_bits(attend(*[LentWithArray(brain)] * 3), attend(*[brain] * 3))
    with pytest.raises(TypeError, match="query cannot be read as an array"):
        attend(Lent(brain))


@pytest.mark.parametrize("broken", ["__dlpack__", "__dlpack_device__"])
@pytest.mark.parametrize(("error", "seen", "words"), [
    (RuntimeError, TypeError, "query cannot be read as an array: .* is broken"),
    (ValueError, ValueError, "query cannot be read as an array: .* is broken"),
    (MemoryError, MemoryError, "is broken"), (KeyboardInterrupt, KeyboardInterrupt, "is broken"),
])  # fmt: skip
def test_what_lenders_raise(broken, error, seen, words):
    """It is named and kept as the cause; what is not the argument's fault comes out as it is."""
    with pytest.raises(seen, match=words) as caught:
        attend(Lent(X, 1, broken, error))
    if words.startswith("query"):
        assert isinstance(caught.value.__cause__, error)


@pytest.mark.parametrize("attribute", ["__dlpack__", "__dlpack_device__", "__array_interface__"])
def test_attributes_that_raise(attribute):
    class Shy:
        __dlpack__ = __dlpack_device__ = None

        def __getattribute__(self, name):
            if name == attribute:
                raise OSError("not now")
            return object.__getattribute__(self, name)

    with pytest.raises((TypeError, OSError), match="not now"):
        attend(Shy())


def test_array_that_raises_or_is_none():
    class Broken:
        def __array__(self, dtype=None, copy=None):
            raise ZeroDivisionError("no numbers today")

    with pytest.raises(TypeError, match="value cannot be read as an array: no numbers today"):
        attend(value=Broken())
    with pytest.raises(KeyboardInterrupt):
        attend(value=LentWithArray(X, 1, "__dlpack__", KeyboardInterrupt))


@pytest.mark.parametrize("types", [
    ("i4", "i8", "u1"), ("i8", "i8", "i8"), ("?", "?", "?"), ("?", "i2", "?"), ("u8", "i8", "u8"),
])  # fmt: skip
def test_integers_and_bools_are_float64(types):
    arrays = [(X > 0).astype(t) for t in types]
    got = attend(*arrays)
    assert got.dtype == np.float64
    assert same_bits(got, attend(*[x.astype(np.float64) for x in arrays]))


def test_types_without_a_common_one():
    for bad in (X.astype("m8[s]"), X.astype("M8[s]"), X.astype("S3")):
        with pytest.raises(TypeError, match=r"astype|convert"):
            attend(key=bad)


@pytest.mark.parametrize("name", ["mask", "bias", "sinks", "alibi_slopes"])
def test_terms_of_any_layout_and_of_wrong_types(name):
    shape = (5, 5) if name in ("mask", "bias") else (2,)
    term = np.arange(1, 1 + np.prod(shape)).reshape(shape)
    expected = attend(**{name: term.astype(float)})
    for layout in (term.astype(">f8"), term.astype(float)[::-1][::-1], term.astype("f8").tolist()):
        assert same_bits(attend(**{name: layout}), expected)
    shifted = np.zeros(8 * term.size + 1, np.uint8)[1:].view("f8").reshape(shape)
    shifted[...] = term
    assert same_bits(attend(**{name: shifted}), expected)
    if name in ("sinks", "alibi_slopes"):
        assert same_bits(attend(**{name: term}), expected)
    for bad in ("f16", "c16", "O", "S1") + (("i8",) if name in ("mask", "bias") else ("?",)):
        with pytest.raises(TypeError, match=name):
            attend(**{name: term.astype(bad)})
    if name == "bias":
        with pytest.raises(TypeError, match="bias is bool"):
            attend(bias=np.ones((5, 5), bool))
    assert attend(mask=np.ones((5, 5), ">f4")).shape == X.shape


class Text(str):
    """A key of ** that is equal to a parameter's name and not the same object."""


def test_names_that_are_not_interned():
    name = "".join(["return_", "lse"])
    assert len(attend(**{Text(name): True})) == 2
    assert len(selfattn.attention(X, X, **{"".join(["val", "ue"]): X, name: True})) == 2


@pytest.mark.parametrize(("arguments", "missing"), [
    ((), "3 required positional arguments: 'query', 'key', and 'value'"),
    ((X,), "2 required positional arguments: 'key' and 'value'"),
    ((X, X), "1 required positional argument: 'value'"),
])  # fmt: skip
def test_missing_arguments(arguments, missing):
    with pytest.raises(TypeError, match=missing):
        selfattn.attention(*arguments)
    with pytest.raises(TypeError, match=r"set_num_threads\(\) takes 1 positional argument but 2"):
        selfattn.set_num_threads(1, 2)
    with pytest.raises(TypeError, match=r"set_num_threads\(\) missing 1 required"):
        selfattn.set_num_threads()


class Width:
    def __init__(self, number, error=None):
        self.number, self.error = number, error

    def __index__(self):
        if self.error:
            raise self.error("no number")
        return self.number


def test_integers_of_other_classes():
    for number in (Width(3), np.int8(3), np.uint64(3), np.array(3)):
        assert same_bits(attend(window=number), attend(window=3))
        assert same_bits(attend(window=(number, None)), attend(window=(3, None)))
        assert same_bits(attend(num_threads=number), attend())
        if not isinstance(number, Width):
            assert same_bits(attend(key_lengths=number), attend(key_lengths=3))
    for bad, error in ((Width(0, OSError), OSError), (Width(0, TypeError), TypeError)):
        for options in ({"window": bad}, {"window": [0, bad]}, {"num_threads": bad}):
            with pytest.raises(error):
                attend(**options)


BEYOND = 2**70


def test_numbers_beyond_64_bits():
    assert same_bits(attend(window=BEYOND), attend())
    assert same_bits(attend(window=[BEYOND, 1]), attend(window=(None, 1)))
    assert same_bits(attend(num_threads=BEYOND), attend())
    for options in ({"window": -BEYOND}, {"window": (0, -BEYOND)}, {"num_threads": -BEYOND},
                    {"key_lengths": BEYOND}, {"query_offset": -BEYOND, "causal": True},
                    {"key_lengths": [BEYOND]}, {"key_lengths": np.array([2**63], np.uint64)},
                    {"num_threads": 0}, {"window": [1]}, {"window": (1, 2, 3)}):  # fmt: skip
        with pytest.raises((ValueError, TypeError)):
            attend(**options)
    batch = np.stack([X, X])
    expected = attend(batch, batch, batch, key_lengths=[2, 5])
    for kind in "bBhHiIlLqQ":
        fits = np.array([2, 5], kind)
        assert same_bits(attend(batch, batch, batch, key_lengths=fits), expected)
    for wrong in (True, np.True_, np.array([True, False]), 2.0, "2", None.__class__):
        with pytest.raises(TypeError, match="key_lengths"):
            attend(key_lengths=wrong)


def test_real_numbers_of_other_classes():
    for number in (np.float32(0.5), np.array(0.5), np.float16(0.5), np.array(0.5, "f2"), 0.5):
        assert same_bits(attend(scale=number), attend(scale=0.5))
    assert same_bits(attend(scale=np.array(2)), attend(scale=2))
    for bad in (True, np.True_, 1j, np.complex64(1), np.str_("1"), np.void(b"1"), b"1", "1",
                np.datetime64(1, "s"), np.timedelta64(1, "s"), np.array([0.5]), np.array(1j),
                np.array(True), object(), np.bytes_(b"1")):  # fmt: skip
        with pytest.raises(TypeError, match="scale"):
            attend(scale=bad)


def test_outputs_that_cannot_be_taken():
    y, masked = np.empty_like(X), np.ma.empty_like(X)
    for bad in (3, masked, [y]):
        with pytest.raises(TypeError, match="out"):
            attend(out=bad)
    for bad in ((y, 3), (masked, None), (y, masked)):
        with pytest.raises(TypeError, match="out"):
            attend(out=bad, return_lse=True)
    for options in ({}, {"return_lse": True}, {"return_weights": True}):
        with pytest.raises(ValueError, match="out has 3 entries") as caught:
            attend(out=(None, None, None), **options)
        for name, flag in (("weights", "return_weights"), ("lse", "return_lse")):
            assert (name in str(caught.value)) == (flag in options)
    for bad in (X.astype(">f4"), X.astype("f16"), X.astype(complex), X.astype(int)):
        with pytest.raises(TypeError, match=r"out (is|has)"):
            attend(out=bad)
    assert attend(out=y.view(type("Own", (np.ndarray,), {}))).shape == y.shape


def test_long_shapes_are_cut():
    with pytest.raises(ValueError, match=r"and query \(1, 1, .*1, \.\.\.\): query, key"):
        attend(X.reshape(*[1] * 50, *X.shape), X[0], X[0])
