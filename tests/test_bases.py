"""Networks to begin with: found by name or path, refused with the names of those that there are."""

import subprocess
import sys

import keras
import pytest

from resnet_lib import bases, imagenet, zoo


def test_the_bases_are_those_of_the_library_and_imagenets():
    assert bases.names() == (*zoo.names(), "resnet50-imagenet", *list(bases.IMAGENET)[1:])
    assert bases.DEFAULT in zoo.names()


def test_a_base_of_the_library_knows_its_size_and_has_its_preprocessing_inside():
    base = bases.find("resnet20v1-cifar10")
    assert (base.name, base.size, base.preprocessing) == ("resnet20v1-cifar10", (32, 32), None)
    assert base.model.input_shape == (None, 32, 32, 3)
    assert bases.find(base) is base


def test_a_runs_folder_and_a_file_are_bases(run, tmp_path):
    folder = bases.find(run.folder)
    assert (folder.name, folder.size) == (run.folder.name, (32, 32))
    file = bases.find(str(run.folder / "model.keras"))
    assert (file.name, file.size) == ("model.keras", (32, 32))
    free = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(2, 3)], name="free")
    assert bases.find(free) == bases.Base("free", free, (None, None))


@pytest.mark.parametrize(
    "wrong", ["resnet20v1-cifar", "no/such/file.keras", "~nobody_of_that_name/x"]
)
def test_what_is_no_base_is_told_which_there_are(wrong):
    with pytest.raises(ValueError, match=r"'resnet20v1-cifar10', .*'resnet50-imagenet'") as refused:
        bases.check(wrong)
    assert ".keras file" in refused.value.__notes__[0]


def test_what_is_no_network_is_refused(tmp_path):
    (tmp_path / "mine.keras").write_text("mine")
    with pytest.raises(ValueError, match=r"as Keras writes it.*mine\.keras"):
        bases.check(tmp_path / "mine.keras")
    with pytest.raises(FileNotFoundError, match="finished run"):
        bases.check(tmp_path)
    with pytest.raises(ValueError, match=r"keras\.Model. Received: 5"):
        bases.find(5)


def test_offline_the_bases_that_need_no_download_are_named(monkeypatch):
    def no_network(*_, **options):
        raise ConnectionError("URL fetch failure.")

    monkeypatch.setattr(imagenet, "resnet", no_network)
    with pytest.raises(ConnectionError) as refused:
        bases.find("resnet50-imagenet")
    said = str(refused.value)
    assert all(name in said for name in zoo.names())
    assert "URL fetch failure" in said
    assert 'preprocessing="caffe"' in said


def test_imagenets_weights_come_with_the_preprocessing_that_goes_with_them(monkeypatch):
    asked = []

    def resnet(shape, depth, **options):
        asked.append((shape, depth, options["weights"], options["include_top"], options["form"]))
        return keras.Sequential([keras.Input(shape), keras.layers.Conv2D(2, 3)])

    monkeypatch.setattr(imagenet, "resnet", resnet)
    base = bases.find("resnet101-imagenet")
    assert asked == [((224, 224, 3), 101, "imagenet", False, "applications")]
    assert (base.name, base.size, base.preprocessing) == ("resnet101-imagenet", (224, 224), "caffe")


def test_a_base_is_checked_without_keras(tmp_path):
    code = "import sys; sys.argv = ['-m']; from resnet_lib import bases; bases.check(bases.DEFAULT)"
    code = f"import sys; sys.orig_argv[1:] = ['-m', 'resnet_lib']; {code}; "
    code += "sys.exit('keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
