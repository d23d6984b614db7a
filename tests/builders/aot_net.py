"""A process of its own for AOTInductor: what it compiles is loaded into the process that asks."""

import os
import sys
from pathlib import Path

import torch

from builders.classifiers import make_classifier
from builders.models import Net, noise
from fastbench.models.registry import load_model


def main(cache: Path) -> None:
    """Compile a net, use its package again, and take it as a model. Raises where one is wrong."""
    torch.set_num_threads(1)
    torch.manual_seed(7)
    net = Net().eval()
    with torch.no_grad():  # logits that an engine's own batch norm could get wrong
        net.norm.running_mean.uniform_(-0.5, 0.5)
        net.norm.running_var.uniform_(0.5, 2)
    how = {"engine": "aot", "batch_size": 4, "crop": 48, "cache": cache, "num_threads": 1}
    classifier = make_classifier(net, **how)
    images_NCHW = noise(7)
    for part_NCHW in images_NCHW.split(4):
        logits_NC = classifier(part_NCHW)[: len(part_NCHW)]
        torch.testing.assert_close(logits_NC, net(part_NCHW).detach(), atol=1e-4, rtol=0)
    first_NC = classifier(images_NCHW[:4])
    before_NC = first_NC.clone()
    classifier(-images_NCHW[:4])
    assert torch.equal(first_NC, before_NC)
    assert list(classifier.traits.setup_s) == ["export", "compile", "load"]
    assert classifier.traits.weights_bytes >= 4 * sum(x.numel() for x in net.parameters())
    classifier.close()
    again = make_classifier(net, **how)  # of the file
    assert again.traits.setup_s["compile"] < 1
    assert torch.equal(again(images_NCHW[:4]), before_NC)
    (path,) = cache.glob("*.pt2")
    os.write(2, b"made\n")
    model = load_model(str(path))
    os.write(2, b"loaded\n")
    assert (model.format, model.batch_sizes, model.fixed_size) == ("AOTInductor", (4, 4), 48)
    assert (model.classes.num_classes, model.preprocess.crop) == (3, 48)
    of_file = make_classifier(model, engine="aot", batch_size=4, crop=48)
    assert torch.equal(of_file(images_NCHW[:4]), before_NC)
    assert list(of_file.traits.setup_s) == ["load"]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
