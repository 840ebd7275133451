"""The user's environment: what each variable is taken for, and the one line for what it cannot be."""

import pytest

from reproduce import environ
from reproduce.errors import ConfigError


@pytest.mark.parametrize(
    ("value", "threads"), [(None, None), ("", None), (" ", None), ("4", 4), ("4,2", 4), (" 3 , 1", 3)]
)
def test_threads_are_taken_as_openmp_takes_them(value, threads):
    assert environ.omp_threads({} if value is None else {"OMP_NUM_THREADS": value}) == threads


@pytest.mark.parametrize("value", ["0", "-1", "two", "4,", "²", "1.5", "99999", "9" * 400, "4,0"])
def test_threads_that_are_none_are_one_line(value):
    with pytest.raises(ConfigError, match="OMP_NUM_THREADS = .*must be a number of threads.*unset it") as error:
        environ.omp_threads({"OMP_NUM_THREADS": value})
    assert "\n" not in str(error.value)


def test_a_number_that_is_set_but_empty_is_not_set():
    assert environ.whole_number("RANK", {"RANK": ""}) is None and environ.whole_number("RANK", {"RANK": " 3"}) == 3
    for wrong in ("x", "-1", "²", "9" * 30):
        with pytest.raises(ConfigError, match="RANK = .*must be a whole number"):
            environ.whole_number("RANK", {"RANK": wrong})


def test_a_compiler_may_have_a_wrapper():
    assert environ.compiler({"CC": "ccache gcc"}) == ["ccache", "gcc"]
    assert environ.compiler({"CC": "'/my tools/gcc' -m64"}) == ["/my tools/gcc", "-m64"]
    assert environ.compiler({}) == environ.compiler({"CC": " "}) == []
    with pytest.raises(ConfigError, match="CC = .*unset it"):
        environ.compiler({"CC": "'gcc"})


def test_a_cache_is_an_absolute_path_or_below_home(monkeypatch):
    assert str(environ.cache_folder({"XDG_CACHE_HOME": "/c", "HOME": "/h"})) == "/c"
    for other in ("", "relative"):
        assert str(environ.cache_folder({"XDG_CACHE_HOME": other, "HOME": "/h"})) == "/h/.cache"

    def nobody():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(environ.Path, "home", nobody)
    assert environ.cache_folder({"HOME": ""}) is None
