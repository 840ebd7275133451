"""From options to jobs: sites, what starts ranks, the jobs and their sizes, and the job scripts as text.

`python -m tests.launchers.test_launchers` writes the golden scripts again; read the difference before you commit it.
"""

import dataclasses
import re
import subprocess
from pathlib import Path

import pytest

from reproduce import run_all
from reproduce.artefact import REPEATS
from reproduce.artefacts import ARTEFACTS
from reproduce.cluster import files
from reproduce.cluster.run import run
from reproduce.cluster.step import Work
from reproduce.errors import ConfigError
from reproduce.launchers import SCHEDULERS, site
from reproduce.launchers.ranks import Start, rank_map
from reproduce.runner import jobs, script, training
from reproduce.runner.plan import START_SECONDS, Plan
from tests.helpers import ROOT
from tests.helpers.needs import need_program
from tests.helpers.stub_run import write_log

RENEW = "python -m tests.launchers.test_launchers writes them again"
GOLDEN = ROOT / "tests" / "golden" / "jobs"
PBS = """extends = "{abci}"
[cluster]
name = "pbs"
[launch]
scheduler = "pbs"
options = ["-q rt_HF", "-l select={{nodes}}:mpiprocs={{ranks_per_node}}", "-l walltime={{time}}"]
report_options = ["-q rt_HC", "-l select=1", "-l walltime={{time}}"]
account = "-P {{account}}"
hostfile = "PBS_NODEFILE"
scratch = "$PBS_LOCALDIR"
modules = ["cuda/12.6", "hpcx/2.20"]
"""
CLUSTERS = {"slurm": "dgx-h100", "uge": "abci", "pbs": "pbs"}


def own_site(folder: Path, text: str, name: str = "mine") -> Path:
    path = folder / f"{name}.toml"
    path.write_text(text.format(abci=files.FOLDER / "abci.toml"))
    return path


def context(folder: Path) -> script.Context:
    site_of = site.load("abci").filled("uge")
    return script.Context("uge", site_of, "g", folder, folder, "/python", "paper", ("--tier", "paper"), True)


def example(launcher: str, folder: Path) -> dict[str, str]:
    """The scripts of a small submission by job, with paths that are nobody's."""
    cluster = str(own_site(folder, PBS, "pbs")) if launcher == "pbs" else CLUSTERS[launcher]
    where = site.load(cluster).filled(launcher)
    plan = Plan("paper", ARTEFACTS, only=["table1"], data=Path("/data/imagenet"), out=folder / "none")
    found = jobs.jobs(plan, where, 2048)
    arguments = ("--tier", "paper", "--launcher", launcher, "--cluster", CLUSTERS[launcher], "--seeds", "1")
    context = script.Context(launcher, where, "gaa50000", Path("/scratch/my results"), Path("/data/imagenet"),
                             "/repo/.venv/bin/python", "paper", arguments, True, Path("/repo"))  # fmt: skip
    return {job.name: script.script(job, context) for job in found}


# ---- the scripts ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("launcher", SCHEDULERS)
def test_job_scripts_are_the_golden_ones(launcher, tmp_path):
    for name, text in example(launcher, tmp_path).items():
        assert text == (GOLDEN / f"{launcher}_{name}.sh").read_text(), RENEW


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.sh")), ids=lambda path: path.stem)
def test_job_scripts_are_sound_shell(path):
    assert subprocess.run(["bash", "-n", str(path)]).returncode == 0


@need_program("shellcheck")
@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.sh")), ids=lambda path: path.stem)
def test_shellcheck_finds_nothing_in_job_scripts(path):
    done = subprocess.run(["shellcheck", "--exclude=SC2155", str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_there_are_golden_scripts_of_every_scheduler():
    names = [f"{scheduler}_{job}" for scheduler in SCHEDULERS for job in ("table1", "report")]
    assert sorted(path.stem for path in GOLDEN.glob("*.sh")) == sorted(names)


def test_the_paper_request_is_taken_as_it_is(tmp_path):
    lines = example("uge", tmp_path)["table1"].splitlines()
    assert {"#$ -g gaa50000", "#$ -l rt_F=512"} <= set(lines)
    assert any(re.fullmatch(r"#\$ -l h_rt=\d\d:\d\d:00", line) for line in lines)
    assert "# rank 2: node 0, local rank 2, GPU 2, NUMA node 1, adapter mlx5_1" in lines
    assert "# and so on, up to rank 2047 on node 511" in lines
    assert "export REPRODUCE_NUMA=0,0,1,1" in lines and "export REPRODUCE_HCA=mlx5_0,mlx5_0,mlx5_1,mlx5_1" in lines


def test_dry_run_is_a_script_that_hands_everything_in(tmp_path, capsys):
    (tmp_path / "data").mkdir()
    arguments = ["--tier", "paper", "--cluster", "abci", "--launcher", "uge", "--account", "gaa50000", "--dry-run"]
    assert run_all.main([*arguments, "--data", str(tmp_path / "data"), "--out", str(tmp_path / "out")]) == 0
    text = capsys.readouterr().out
    assert not (tmp_path / "out").exists() and subprocess.run(["bash", "-n"], input=text, text=True).returncode == 0
    assert 'report=$(qsub -terse -hold_jid "$table1,$curve,$figure2_4,' in text
    assert "modelled: abci" in text and "node-hours" in text


@pytest.mark.parametrize("launcher", SCHEDULERS)
def test_device_preset_and_pass_reach_the_runs_of_every_job(launcher, tmp_path, capsys):
    asked = ["--device", "cuda", "--execution", "fast,lars=foreach", "--pass-images", "96"]
    arguments = ["--tier", "paper", "--cluster", "abci", "--launcher", launcher, "--dry-run", "--only", "table1"]
    arguments += [*asked, "--account", "group1", "--data", str(tmp_path), "--out", str(tmp_path / "out")]
    assert run_all.main(arguments) == 0
    (call,) = [line for line in capsys.readouterr().out.splitlines() if "--inside" in line]
    assert " ".join(asked) in call


# ---- jobs -----------------------------------------------------------------------------------------------------------


def test_every_run_belongs_to_one_job_and_the_last_draws(tmp_path):
    plan = Plan("paper", ARTEFACTS, data=tmp_path, out=tmp_path, seeds=2, processes=2048)
    found = jobs.jobs(plan, site.load("abci").filled("uge"), 2048)
    assert sorted(str(run) for job in found for run in job.runs) == sorted(map(str, plan.jobs))
    assert found[-1].name == jobs.REPORT and found[-1].after == tuple(job.name for job in found[:-1])
    whole = {job.name: job for job in found[:-1] if not job.runs[0].is_for_speed}
    assert set(whole) == {a.name for a in ARTEFACTS if a.runs.get("paper")}
    assert {(job.nodes, job.ranks) for job in whole.values()} == {(512, 2048)}


def test_each_number_of_devices_is_timed_in_a_job_that_holds_no_more(tmp_path):
    plan = Plan("paper", ARTEFACTS, only=["figure2"], data=tmp_path, out=tmp_path, processes=2048)
    *found, _ = jobs.jobs(plan, site.load("abci").filled("uge"), 2048)
    assert [(job.name, job.ranks, job.nodes) for job in found] == [
        (f"figure2_{count}", count, count // 4) for count in (4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048)
    ]
    for job in found:
        assert {run.config.batch.workers for run in job.runs} == {job.ranks} and len(job.runs) == 4 * REPEATS
        assert job.source == "modelled: abci" and job.requested > 2 * len(job.runs) * START_SECONDS["paper"]
    text = script.script(found[1], context(tmp_path))
    checks, trains = ([line for line in text.splitlines() if f"reproduce.engine.{what}" in line]
                      for what in ("preflight", "train"))  # fmt: skip
    recipe = "paper_configs/speed_b40_g1.toml --variant batch.workers=8 --variant data.train_images=5008"
    assert len(checks) == 1 and recipe in checks[0] and f"{recipe} --seed 3" in "\n".join(trains)
    assert "--processes 8 --inside figure2_8" in text


def test_a_job_of_a_number_of_devices_does_its_runs_and_no_others(tmp_path, capsys, monkeypatch):
    done = []
    monkeypatch.setattr(training, "train_all", lambda plan, *_, **__: (done.extend(plan.jobs), ([], False))[1])
    call = ["--tier", "paper", "--launcher", "uge", "--cluster", "abci"]
    call += ["--data", str(tmp_path), "--out", str(tmp_path)]
    assert run_all.main([*call, "--processes", "8", "--inside", "figure2_8"]) == 0
    assert len(done) == 4 * REPEATS and {job.config.batch.workers for job in done} == {8}
    assert run_all.main([*call, "--processes", "8", "--inside", "figre2_8"]) == 2


def test_done_runs_are_not_handed_in_again(tmp_path):
    write_log(tmp_path, "quick/headline_b800_w20")
    found = jobs.jobs(Plan("quick", ARTEFACTS, only=["table1"], out=tmp_path), site.load("local").filled("slurm"), 2)
    assert [[run.name for run in job.runs] for job in found] == [["quick/baseline_b128_w2"], []]
    write_log(tmp_path, "quick/baseline_b128_w2")
    found = jobs.jobs(Plan("quick", ARTEFACTS, only=["table1"], out=tmp_path), site.load("local").filled("slurm"), 2)
    assert [job.name for job in found] == ["report"]


def test_the_estimate_is_the_cluster_models(tmp_path):
    plan = Plan("paper", ARTEFACTS, only=["table1"], data=tmp_path, out=tmp_path)
    (job, _) = jobs.jobs(plan, site.load("abci").filled("uge"), 2048)
    headline = plan.jobs[0].config
    evaluations = sum(map(headline.evaluates_after, range(1, 91)))
    assert job.expected == run(Work(40), 2048, files.load("abci"), 90, evaluations, headline.total_updates).total
    assert job.source == "modelled: abci" and job.node_hours == pytest.approx(512 * job.expected / 3600)
    assert job.requested >= 2 * job.expected + 600 and job.requested % 60 == 0
    emulated = jobs.jobs(plan, site.load("abci").filled("uge"), 8)[0]
    assert emulated.source.startswith("assumed"), "the model says nothing about emulated workers"


def test_a_job_longer_than_the_site_allows_is_refused(tmp_path):
    plan = Plan("node", ARTEFACTS, only=["figure3"], data=tmp_path, out=tmp_path)
    short = dataclasses.replace(site.load("abci").filled("uge"), max_hours=1.0)
    with pytest.raises(ConfigError, match="launch.max_hours = 1: figure3 would ask for"):
        jobs.jobs(plan, short, 4)


# ---- what starts ranks ----------------------------------------------------------------------------------------------


def test_every_launcher_starts_as_many_ranks_as_asked():
    four = dataclasses.replace(site.load("abci"), ranks=("--mine",))
    launchers = ("slurm", "uge", "torchrun")
    argv = {name: Start(name, four).argv(8, "python", "reproduce.engine.train") for name in launchers}
    assert argv["slurm"][:4] == ["srun", "--nodes=2", "--ntasks=8", "--ntasks-per-node=4"] and "--mine" in argv["slurm"]
    assert argv["uge"][:5] == ["mpirun", "-np", "8", "--map-by", "ppr:4:node"] and "--mine" in argv["uge"]
    assert argv["torchrun"][3:5] == ["--standalone", "--nproc-per-node=8"]
    assert all(words[-2:] == ["-m", "reproduce.engine.train"] for words in argv.values())
    two = Start("torchrun", four, nodes=2, rendezvous="a:1").argv(8, "python", "m")
    assert {"--nnodes=2", "--nproc-per-node=4", "--rdzv-endpoint=a:1"} <= set(two)
    hosted = Start("openmpi", four, hosts="/my hosts").argv(8, "python", "m")
    assert hosted[hosted.index("--hostfile") + 1] == "/my hosts"
    assert {"NCCL_BUFFSIZE", "REPRODUCE_NUMA", "MASTER_ADDR"} <= set(hosted), "mpirun hands on only what is named"


def test_the_rank_map_is_that_of_the_paper():
    lines = rank_map(2048, site.load("abci"))
    assert lines[1] == "rank 1: node 0, local rank 1, GPU 1, NUMA node 0, adapter mlx5_0"
    assert lines[7] == "rank 7: node 1, local rank 3, GPU 3, NUMA node 1, adapter mlx5_1" and len(lines) == 9
    assert rank_map(2, site.load("local")) == ["rank 0: node 0, local rank 0", "rank 1: node 1, local rank 0"]


# ---- bad sites and options ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", files.names())
def test_every_cluster_file_can_be_launched_on(name):
    for launcher in SCHEDULERS:
        assert site.load(name).filled(launcher).options


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("option = []", "launch.option: unknown key"),
        ('options = ["--comment=$(id)"]', "must be text of the characters"),
        ('options = ["--comment=`id`"]', "must be text of the characters"),
        ('options = ["--time={{tme}}"]', "placeholders are"),
        ('options = "--time=1"', "must be a list"),
        ('modules = ["cuda; id"]', "must be text of the characters"),
        ('ranks = ["--x y"]', "must be text of the characters"),
        ('scratch = "$(id)"', "must be text of the characters"),
        ('hostfile = "A B"', "must be text of the characters"),
        ("numa = [0]", "launch.numa: 1 entries"),
        ('numa = ["0", "0", "1", "1"]', "must list NUMA nodes"),
        ("ranks_per_node = 0", "must be at least 1"),
        ("ranks_per_node = true", "must be a number"),
        ('scheduler = "lsf"', "known are slurm, uge, pbs"),
        ('environment = {{ "A B" = "1" }}', "is no name of a variable"),
        ('environment = {{ A = "1\\n2" }}', "must be text of one line"),
        ("environment = {{ A = 1 }}", "must be text of one line"),
        ('environment = {{ data = "/elsewhere" }}', "the job script has a variable of this name"),
        ('options = ["--nodes={{{{nodes}}}}"]', "placeholders are"),
        ('options = ["}}{{"]', "placeholders are"),
        ('options = ["{{time!r}}"]', "must be text of the characters"),
        ('options = ["{{time:1000000000}}"]', "placeholders are"),
        ("max_hours = nan", "must be a number"),
        ("node_gbit = 1e300", "must be a number from 0"),
        ("ranks_per_node = 1000000000000000000000000", "must be a number from 0"),
    ],
)
def test_a_bad_site_is_one_line(text, says, tmp_path):
    path = own_site(tmp_path, f'extends = "{{abci}}"\n[cluster]\nname = "mine"\n[launch]\n{text}\n')
    with pytest.raises(ConfigError, match=re.escape(says)) as error:
        site.load(str(path))
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_a_node_of_more_gpus_than_any_has_is_refused(tmp_path):
    gpus = 'gpus = {{ value = 1e40, unit = "count", status = "datasheet", source = "x" }}'
    path = own_site(tmp_path, f'extends = "{{abci}}"\n[cluster]\nname = "mine"\n[node]\n{gpus}\n')
    with pytest.raises(ConfigError, match=r"node.gpus = 1\d+: must be a number from 0 to 1,024"):
        site.load(str(path))


def test_a_site_of_another_batch_system_keeps_what_is_not_its_request():
    moved = site.load("abci").filled("slurm")
    assert moved.options == site.DEFAULTS["slurm"]["options"] and moved.numa == (0, 0, 1, 1)
    assert site.load("abci").filled("uge").options == ("-l rt_F={nodes}", "-l h_rt={time}")


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--launcher", "slrum"], "did you mean 'slurm'?"),
        (["--launcher", "slurm", "--account", "a b"], "must be of letters"),
        (["--launcher", "slurm", "--account", "a\n#SBATCH --uid=0"], "must be of letters"),
        (["--launcher", "slurm", "--account=-uid"], "must be of letters"),
        (["--account", "x"], "is for --launcher slurm, uge, pbs, not for local"),
        (["--launcher", "torchrun", "--nodes", "2"], "needs --rendezvous"),
        (["--launcher", "torchrun", "--nodes", "2", "--rendezvous", "a b:1"], "write HOST:PORT"),
        (["--launcher", "openmpi", "--nodes", "2"], "needs --hostfile"),
        (["--launcher", "openmpi", "--hostfile", "/nowhere"], "no such file"),
        (["--launcher", "uge", "--nodes", "0"], "must be at least 1"),
        (["--launcher", "uge", "--cluster", "acbi"], "did you mean 'abci'?"),
        (["--launcher", "slurm", "--publish"], "needs results"),
        (["--launcher", "slurm", "--tier", "paper"],
         "needs --cluster, which says how many ranks and GPUs a node has: abci,"),
        (["--launcher", "slurm", "--cluster", ""], "--cluster: is empty"),
        (["--launcher", "torchrun", "--nodes", "2", "--rendezvous", "h:99999999"], "the port must be from 1 to 65535"),
        (["--launcher", "torchrun", "--nodes", "3", "--rendezvous", "h:1", "--processes", "2"], "fewer than --nodes 3"),
        (["--launcher", "torchrun", "--nodes", "3", "--rendezvous", "h:1", "--processes", "24", "--tier", "paper"],
         "workers of headline_b81920_g2048 cannot be shared evenly by 24 processes on 3 nodes: try --nodes 1 or 2"),
        (["--launcher", "torchrun", "--nodes", "2", "--rendezvous", "h:1", "--processes", "24", "--tier", "paper"],
         "try --processes 16"),
        (["--launcher", "uge", "--nodes", "2", "--processes", "16"], "--nodes 2 hold 8, 4 on each of abci"),
        (["--inside", "table1"], "is for --launcher slurm, uge, pbs, inside their jobs"),
        (["--launcher", "uge", "--inside", "tabel1"], "did you mean 'table1'?"),
    ],
)
def test_bad_options_are_one_line(args, says, tmp_path, capsys):
    assert run_all.main(["--out", str(tmp_path / "out"), *args]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1 and says in captured.err and not (tmp_path / "out").exists()


if __name__ == "__main__":
    import tempfile

    GOLDEN.mkdir(parents=True, exist_ok=True)
    for each in SCHEDULERS:
        with tempfile.TemporaryDirectory() as made:
            for job_name, content in example(each, Path(made)).items():
                (GOLDEN / f"{each}_{job_name}.sh").write_text(content)
