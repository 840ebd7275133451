"""The revision in a log is that of this package's own repository, or none; asking for it starts nobody's program."""

import subprocess

import pytest

from reproduce.revision import revision


def git(folder, *words):
    author = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", "-C", folder, *author, *words], check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path):
    folder = tmp_path / "repository"
    (folder / "copy").mkdir(parents=True)
    (folder / "file").write_text("1")
    git(folder, "init", "-q")
    git(folder, "add", "file")
    git(folder, "commit", "-q", "-m", "first")
    return folder


def test_a_work_tree_has_its_commit_and_says_if_it_has_changed(repository):
    clean = revision(repository)
    assert len(clean) == 12
    (repository / "file").write_text("2")
    assert revision(repository) == f"{clean}-dirty"


@pytest.mark.parametrize("damaged", [False, True])
def test_a_copy_inside_another_repository_has_none(repository, damaged):
    if damaged:  # git passes over a .git that is none, and looks above
        (repository / "copy" / ".git").mkdir()
    assert revision(repository / "copy") is None


def test_variables_of_git_name_no_other_repository(repository, tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_DIR", str(repository / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(tmp_path))
    assert revision(tmp_path) is None


def test_asking_starts_no_program_of_the_configuration(repository, tmp_path):
    git(repository, "config", "core.fsmonitor", f"touch {tmp_path / 'started'}; false")
    assert revision(repository) and not (tmp_path / "started").exists()


def test_without_git_there_is_none(repository, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert revision(repository) is None
