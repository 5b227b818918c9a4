from pathlib import Path

from smoothscan.classifier.local import LocalClassifier
from smoothscan.config import ScanConfig
from smoothscan.detection.exhibit import EXAMPLES, exhibit
from smoothscan.events import Silent
from smoothscan.pipeline import examine
from tests.planted import CLASSES, TARGET, PlantedNet, images


def test_the_exhibits_show_the_first_held_out_images_with_their_predictions():
    pixels = images()
    classifier = LocalClassifier(PlantedNet(backdoored=True), pixels)
    names = [f"{i}.png" for i in range(62)]
    found = examine(
        classifier, pixels, names, [str(t) for t in range(CLASSES)], ScanConfig(uri="-", images=Path()), Silent()
    )
    subjects = found.subjects
    shown = exhibit(classifier, found, names).classes
    assert set(shown) == set(range(CLASSES))
    examples = shown[TARGET].examples
    assert len(examples) == EXAMPLES
    kept = [names[i] for i in subjects.held_out if subjects.clean[i] != TARGET]
    assert [e.name for e in examples] == kept[:EXAMPLES]
    assert sum(e.perturbed_prediction == TARGET for e in examples) > EXAMPLES / 2
    assert not shown[(TARGET + 1) % CLASSES].examples
