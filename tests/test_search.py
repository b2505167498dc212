import os

import pytest
from optuna.trial import FixedTrial, TrialState

from kanvae import Architecture
from kanvae.layers.kinds import KINDS
from kanvae.models import count_parameters
from kanvae.studies import cluster, command, paper, search, space, trials
from kanvae.training import DivergedError

SMALL = search.SearchConfig(epochs=1, importance_samples=2, likelihood_images=20)
ROWS = tuple(
    paper.Row(key, Architecture.parse(key), 1.0, 1) for key in ("kan-8-4", "vae-40-4", "kan-9-4")
)


@pytest.fixture
def small_rows(monkeypatch):
    """A search that begins with three small architectures."""
    monkeypatch.setattr(paper, "TABLE_I", ROWS)


@pytest.mark.parametrize(
    "architecture",
    [row.architecture for row in paper.TABLE_I]
    + [Architecture.parse("kan-30-7+depth=2+grid_size=9+spline_order=1+grid_range=-2.5..2.5")]
    + [Architecture.parse(key) for key in ("kan-30-7+first=linear", "shared-300-7+groups=2")],
    ids=str,
)
def test_every_architecture_can_be_proposed(architecture):
    trial = FixedTrial(space.as_parameters(architecture))
    assert space.suggest(trial) == architecture


@pytest.mark.parametrize(
    "key",
    ["gaussian-30-7+grid_size=3+grid_range=-1.0..1.0", "chebyshev-30-7+degree=2",
     "jacobi-300-7+depth=2+degree=5", "wavelet-30-7+wavelet=dog", "rational-300-7+groups=4",
     "shared-300-7+groups=2"],
)  # fmt: skip
def test_layers_of_every_kind_can_be_proposed(key):
    architecture = Architecture.parse(key)
    trial = FixedTrial(space.as_parameters(architecture))
    assert space.suggest(trial, list(KINDS)) == architecture


def test_a_search_of_unknown_layers_is_refused_in_words():
    with pytest.raises(ValueError, match=r"layers is 'kan,conv': choose from .*'chebyshev'"):
        search.SearchConfig(layers="kan,conv")


def test_proposals_follow_from_the_seed():
    assert space.proposals(4, seed=1) == space.proposals(4, seed=1)
    assert space.proposals(4, seed=1) != space.proposals(4, seed=2)


def test_kinds_of_layers_are_tried_equally_often(small_rows, tmp_path, scheduler, monkeypatch):
    monkeypatch.setattr(search, "run_trial", at_once)
    study = search.search(tmp_path, 15, SMALL, scheduler=scheduler, progress=False)
    kinds = search.table(study)["layer"].value_counts()
    assert kinds.to_dict() == {"kan": 5, "shared": 5, "linear": 5}  # the rows among them


def at_once(output, architecture, config, rivals):
    size = count_parameters(Architecture.parse(architecture).build())
    return {"parameters": size, "curve": [-1.0], "score": 1.0, "seconds": 0.0, "provenance": {}}


@pytest.mark.parametrize(
    ("curve", "rival", "hopeless"),
    [
        ([-150, -140], (90, [-140, -130]), True),
        ([-150, -140], (100, [-140, -130]), True),  # of the same size
        ([-150, -140], (101, [-140, -130]), False),  # larger: both may be on the front
        ([-150, -131], (90, [-140, -130]), False),  # catching up
        ([-141, -140], (90, [-140, -130]), False),  # ahead once only
        ([-150, -140], (90, [-140]), False),  # not seen that far
        ([-150], (90, [-100]), False),  # one epoch says little
    ],
)
def test_a_trial_is_given_up_when_a_smaller_one_stays_ahead(curve, rival, hopeless):
    assert search.hopeless(curve, 100, [search.Rival(*rival)], margin=2) is hopeless


def test_a_pruned_training_stops_early_and_can_be_resumed(tmp_path, quick):
    config = search.SearchConfig(epochs=4, importance_samples=2, likelihood_images=20)
    better = search.Rival(1, [-1.0] * 4)
    found = search.run_trial(str(tmp_path), "kan-8-4", config, [better])
    assert "score" not in found
    assert len(found["curve"]) == 2
    resumed = search.run_trial(str(tmp_path), "kan-8-4", config, [])
    assert resumed["curve"][:2] == pytest.approx(found["curve"], rel=1e-8)
    assert len(resumed["curve"]) == 4
    assert len(resumed["provenance"]["starts"]) == 2


def test_a_training_that_diverges_is_a_bad_trial(tmp_path, quick, small_rows, monkeypatch):
    def diverging(*args, **kwargs):
        raise DivergedError("the training diverged at update 3")

    monkeypatch.setattr(search, "train", diverging)
    value = search.run_trial(str(tmp_path), "kan-8-4", SMALL, [])
    assert value["error"] == "the training diverged at update 3"
    study = search.open_study(tmp_path, SMALL)
    trial = study.ask()
    trial.set_user_attr("architecture", str(space.suggest(trial)))
    search._tell(study, trial, value)
    (line,) = search.table(study).to_dict("records")
    assert (line["state"], line["epochs"], line["front"]) == ("diverged", 0, False)
    assert study.trials[trial.number].state in search.FINISHED
    assert search.collect(study, tmp_path / "tables") == 1


@pytest.mark.parametrize("cut", [1, 20, None])
def test_a_journal_whose_last_line_was_cut_loses_that_line_only(small_rows, tmp_path, cut):
    study = search.open_study(tmp_path, SMALL)
    for value in (1.0, 2.0):
        trial = study.ask()
        space.suggest(trial)
        study.tell(trial, [value, 10])
    path = tmp_path / search.JOURNAL
    whole = path.read_bytes()
    last = whole.splitlines(keepends=True)[-1]
    path.write_bytes(whole[:-cut] if cut else whole[: -len(last)] + bytes(len(last)))
    search.mend_journal(path)
    assert path.read_bytes() == whole[: -len(last)]
    again = search.open_study(tmp_path, SMALL)
    assert [t.state for t in again.trials[:2]] == [TrialState.COMPLETE, TrialState.RUNNING]
    search.resume(again)
    again.tell(again.ask(), [3.0, 10])  # what is written from here on is read again
    assert len(search.open_study(tmp_path, SMALL).get_trials(states=search.FINISHED)) == 2


@pytest.mark.parametrize("lines", range(1, 6))
def test_a_search_stopped_while_it_begins_proposes_every_row_in_the_end(
    small_rows, tmp_path, lines
):
    search.open_study(tmp_path, SMALL)
    path = tmp_path / search.JOURNAL
    whole = path.read_bytes().splitlines(keepends=True)
    assert len(whole) >= 2 + len(ROWS)
    path.write_bytes(b"".join(whole[:lines]))
    again = search.open_study(tmp_path, SMALL)
    assert [space.suggest(again.ask()) for _ in ROWS] == [row.architecture for row in ROWS]
    assert len(again.trials) == len(ROWS)


def test_a_journal_that_is_damaged_elsewhere_is_named(small_rows, tmp_path):
    search.open_study(tmp_path, SMALL)
    path = tmp_path / search.JOURNAL
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b"{}\n" + b"".join(lines[2:]))
    with pytest.raises(ValueError, match=r"line 2 of .*journal\.log is damaged\. Cut the file"):
        search.mend_journal(path)


@pytest.fixture(scope="module")
def found(tmp_path_factory, scheduler):
    """A search of four trials, of which three are given, on a cluster started by hand."""
    folder = tmp_path_factory.mktemp("search")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paper, "TABLE_I", ROWS)
        search.search(folder / "out", 2, SMALL, scheduler=scheduler, progress=False)
        study = search.search(folder / "out", 4, SMALL, scheduler=scheduler, progress=False)
    return folder / "out", study


def test_a_search_goes_on_until_so_many_trials_are_finished(found):
    _, study = found
    trials = search.table(study)
    assert len(trials) == 4
    assert sorted(trials["row"].dropna()) == sorted(row.name for row in ROWS)
    assert trials["state"].isin(["complete", "pruned"]).all()


@pytest.mark.parametrize("killed", [False, True])
def test_a_finished_trial_whose_run_was_cut_is_trained_again(
    found, scheduler, small_rows, capsys, killed
):
    output, study = found
    trial = study.best_trials[0]
    run_dir = trials.folder(output, trial.user_attrs["architecture"])
    whole = (run_dir / "weights.safetensors").read_bytes()
    os.truncate(run_dir / "weights.safetensors", len(whole) // 2)
    if killed:  # a search that was about to train it again
        run_dir.rename(f"{run_dir}.damaged")
    again = search.search(output, 4, SMALL, scheduler=scheduler, progress=False)
    assert (f"{run_dir} is damaged (weights.saf" in capsys.readouterr().err) == (not killed)
    assert (run_dir / "weights.safetensors").read_bytes() == whole
    assert list(output.glob("*.damaged")) == []
    assert search.table(again).equals(search.table(study))


def test_the_front_is_what_no_trial_beats_in_both(found):
    _, study = found
    trials = search.table(study)
    done = trials[trials["state"] == "complete"]
    for _, one in done.iterrows():
        beaten = (
            (done["score"] <= one["score"]) & (done["parameters"] <= one["parameters"])
            & ((done["score"] < one["score"]) | (done["parameters"] < one["parameters"]))
        ).any()  # fmt: skip
        assert one["front"] == (not beaten)
        model = Architecture.parse(one["architecture"]).build()
        assert one["parameters"] == count_parameters(model)


def test_the_tables_hold_every_trial_and_where_it_ran(found, tmp_path):
    _, study = found
    assert search.collect(study, tmp_path / "tables") == 4
    assert {path.name for path in (tmp_path / "tables").iterdir()} == {
        "trials.csv", "curves.csv", "provenance.json",
    }  # fmt: skip


def test_a_folder_without_a_search_is_named_and_no_table_is_touched(tmp_path):
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "trials.csv").write_text("kept")
    options = ["--output", str(tmp_path / "none"), "--collect", str(tmp_path / "tables")]
    with pytest.raises(SystemExit, match=r"there is no search in .*none: name its folder"):
        command.main(["search", *options])
    assert (tmp_path / "tables" / "trials.csv").read_text() == "kept"
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("asked", [True, False])
def test_a_trial_that_a_killed_search_left_running_is_proposed_again(small_rows, tmp_path, asked):
    study = search.open_study(tmp_path, SMALL)
    left = study.ask()
    architecture = space.suggest(left) if asked else ROWS[0].architecture
    again = search.open_study(tmp_path, SMALL)
    assert again.trials[left.number].state == TrialState.RUNNING  # another may still be at it
    search.resume(again)
    assert again.trials[left.number].state == TrialState.FAIL
    proposed = {space.suggest(again.ask()) for _ in ROWS}
    assert architecture in proposed
    assert proposed == {row.architecture for row in ROWS}


def test_two_searches_on_one_folder_do_not_meet(tmp_path):
    with cluster.held(tmp_path), pytest.raises(cluster.ClusterError, match="is at work on"):
        search.search(tmp_path, 2, SMALL)


def test_a_folder_of_another_search_is_refused(found):
    output, _ = found
    other = search.SearchConfig(epochs=2, importance_samples=2, likelihood_images=20)
    with pytest.raises(ValueError, match=r"epochs is 1 there, 2 here.*choose another folder"):
        search.open_study(output, other)


def test_a_search_in_which_everything_fails_ends(small_rows, tmp_path, scheduler, monkeypatch):
    monkeypatch.setattr(search, "run_trial", str.splitlines)  # takes no such arguments
    with pytest.raises(cluster.ClusterError, match=r"trials failed, the last with TypeError"):
        search.search(tmp_path, 2, SMALL, scheduler=scheduler, progress=False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--epochs", "0"], "epochs is 0"),
        (["--regime", "half"], "unknown regime 'half'"),
        (["--margin", "-1"], "margin is -1"),
        (["--importance_samples", "0"], "importance_samples is 0"),
        (["--trials", "0"], "trials is 0"),
        (["--device", "cuda:99"], "is not on this machine"),
    ],
)
def test_impossible_options_are_refused_in_one_line(options, message, tmp_path):
    with pytest.raises(SystemExit, match=message) as stop:
        command.main(["search", "--output", str(tmp_path / "out"), *options])
    assert "\n" not in str(stop.value.code)
    assert not (tmp_path / "out").exists()
