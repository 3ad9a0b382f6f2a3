"""What the atlas says that is not computed: its pages, and what is often told wrong, with sources. No torch here."""

from __future__ import annotations

from dataclasses import dataclass

PAGES = {
    "index.html": "Start",
    "layers.html": "Layers",
    "vgg16.html": "VGG-16",
    "resnet50.html": "ResNet-50",
    "learned.html": "What they look for",
    "transfer.html": "Transfer learning",
}
"""File -> its name in the navigation, in the order of reading."""
HEADINGS = {
    "index.html": (
        "What image classification is",
        "A program is shown a picture and names what is on it. What happens in between, with real networks and "
        "real numbers: every picture and figure of the examples was computed, none drawn by hand.",
    ),
    "layers.html": (
        "What each layer does",
        "Six kinds of layers, each with numbers that it computed from one image, through VGG-16 and ResNet-50.",
    ),
    "vgg16.html": (
        "How VGG-16 is built",
        "Nothing but 3 x 3 convolutions and 2 x 2 max pools, stacked deep, under three fully connected layers.",
    ),
    "resnet50.html": (
        "How ResNet-50 is built, and why residuals help",
        "Blocks that each add a small correction to what came in, so that a very deep stack can still be trained.",
    ),
    "learned.html": (
        "What they look for",
        "From edges to parts to objects: the first filters, what every stage answers to one image, and where the "
        "answer comes from.",
    ),
    "transfer.html": (
        "What transfer learning is",
        "Going on from what a network has learned elsewhere, and when that helps.",
    ),
}
"""File -> its heading and first words."""

VGG = "Simonyan and Zisserman, Very Deep Convolutional Networks, arXiv:1409.1556"
RESNET = "He, Zhang, Ren and Sun, Deep Residual Learning, arXiv:1512.03385"
TORCHVISION = "torchvision's documentation of its weights"


@dataclass(frozen=True)
class Claim:
    """What is often told, and what is so."""

    heard: str
    fact: str
    source: str
    """A paper with its section or table, or what measured it."""


CLAIMS: dict[str, tuple[Claim, ...]] = {
    "index.html": (
        Claim(
            "The network is 97 % sure, so it is right 97 times in 100.",
            "Softmax makes numbers that sum to 1; nothing in it makes them true. Modern networks are too sure even of "
            "images like those they learned from, and of other images they can be sure and wrong, as above. "
            "Eyebright measures how far off they are and corrects them on images kept for it.",
            "Guo et al., On Calibration of Modern Neural Networks, arXiv:1706.04599, section 1 and figure 1",
        ),
        Claim(
            "A classifier can say that it does not know.",
            "A softmax over K classes has no output for “none of them”: it divides the whole 100 % among the classes "
            "that it was given. Refusing takes a threshold that is chosen on images with known labels.",
            "Hendrycks and Gimpel, A Baseline for Detecting Misclassified and Out-of-Distribution Examples, "
            "arXiv:1610.02136, section 1",
        ),
    ),
    "layers.html": (
        Claim(
            "Convolution layers convolve.",
            "They compute cross-correlation: a convolution in mathematics turns the filter round first. The filter is "
            "learned, so it makes no difference to what can be learned; the name has stayed.",
            "Goodfellow, Bengio and Courville, Deep Learning, MIT Press 2016, section 9.1, equation 9.6",
        ),
        Claim(
            "Pooling makes the network blind to shifts.",
            "It forgives some small ones. With a step of 2, a shift of one pixel can change what comes out, and the "
            "answer with it.",
            "Zhang, Making Convolutional Networks Shift-Invariant Again, arXiv:1904.11486, sections 1 and 3",
        ),
        Claim(
            "Dropout makes answers random.",
            "It is random in training only. In use it does nothing: the same image gets the same answer. What stays on "
            "in training is scaled up (here doubled), so that sums keep their size on average.",
            "Srivastava et al., Dropout, JMLR 15 (2014), sections 4 and 10; the table above, from torch's own layer",
        ),
        Claim(
            "The fully connected layers do most of the work.",
            "In VGG-16 they hold most of the parameters and do few of the multiply-adds; the convolutions are the "
            "other way round. The exact shares stand on the page of VGG-16.",
            "counted in the network itself: eyebright draw vgg16 --text",
        ),
    ),
    "vgg16.html": (
        Claim(
            "VGG-16 has 92.7 % accuracy on ImageNet.",
            "92.7 % is top-5 (one of five guesses is right), and it is the team's ILSVRC-2014 entry, seven networks "
            "together: 7.3 % top-5 error. One VGG-16 alone, one look at the middle of each image, gives 71.6 % top-1 "
            "and 90.4 % top-5.",
            f"{VGG}, section 4.5, table 7; the single network: {TORCHVISION} (VGG16_Weights.IMAGENET1K_V1)",
        ),
        Claim(
            "VGG won ImageNet in 2014.",
            "It came second in classification (GoogLeNet had 6.7 % top-5 error) and first in localisation.",
            f"{VGG}, abstract, and section 4.5 with table 7",
        ),
        Claim(
            "Small filters are a compromise.",
            "Two 3 x 3 convolutions see 5 x 5 pixels, three see 7 x 7, with a ReLU after each and fewer parameters: "
            "for C channels 27 C² instead of 49 C². That is the paper's point.",
            f"{VGG}, section 2.3",
        ),
    ),
    "resnet50.html": (
        Claim(
            "Residuals were invented against vanishing gradients.",
            "The paper's plain networks had BatchNorm, and the authors checked that their gradients had healthy "
            "sizes; they still trained worse as they grew deeper. What residuals ease is the optimisation: a block "
            "that has nothing to add only has to learn zero.",
            f"{RESNET}, sections 3.1 and 4.1; the experiment above shows the same, with BatchNorm throughout",
        ),
        Claim(
            "Deeper plain networks overfit.",
            "Overfitting would show as a lower training loss and a worse test. The deeper plain network has a "
            "higher training loss: it fits even the images that it learns from less well.",
            f"{RESNET}, section 1 and figures 1 and 4; the experiment above",
        ),
        Claim(
            "ResNet-50 won ILSVRC 2015 with 3.57 % error.",
            "3.57 % is the top-5 error of six networks of different depths together. A single ResNet-152 has 4.49 % "
            "(on validation images, several looks at each); one ResNet-50, one look, 76.1 % top-1 and 92.9 % top-5.",
            f"{RESNET}, section 4.1, tables 4 and 5; the single look: {TORCHVISION} (ResNet50_Weights.IMAGENET1K_V1)",
        ),
        Claim(
            "ResNet-50 reaches 84 % and more on ImageNet.",
            "Not with the plain recipe, which gives about 76 %. A longer one with more augmentation gives 80.9 %; "
            "84.0 % took a changed network (ResNet-50-vd) taught by a larger one and looking at larger images.",
            f"{TORCHVISION} (IMAGENET1K_V2); PaddleClas, README, Fix_ResNet50_vd_ssld_v2: 84.00 %",
        ),
        Claim(
            "There is one ResNet-50.",
            "There are two: in the paper's a stage shrinks in its first 1 x 1 convolution, in torchvision's (“v1.5”) "
            "in the 3 x 3. They have the same parameters, and the weights of one fit into the other without an error, "
            "but answer worse there. The starter weights are the paper's; Eyebright keeps the layout with the weights.",
            "src/eyebright/models/resnet.py; torchvision/models/resnet.py, note on ResNet V1.5",
        ),
    ),
    "learned.html": (
        Claim(
            "A heat map shows why.",
            "It shows which part of the image an answer came from, not why, and only if it is faithful, which can be "
            "measured: cover what it marks, and the answer must fall faster than with a map drawn by chance.",
            "Petsiuk, Das and Saenko, RISE, arXiv:1806.07421, section 4; Adebayo et al., Sanity Checks for Saliency "
            "Maps, arXiv:1810.03292",
        ),
        Claim(
            "Every channel stands for one thing.",
            "Early channels can often be named (an edge, a colour). Of later ones only a part agrees with any one of "
            "the concepts that were looked for.",
            "Bau et al., Network Dissection, arXiv:1704.05796, section 3",
        ),
    ),
    "transfer.html": (
        Claim(
            "Transfer learning always helps.",
            "It helps most where images are few and like those that were learned from. The further away the images, "
            "the less it brings, as with the small grey ones above; and with enough images and time, training from "
            "scratch can catch up.",
            "Yosinski et al., How transferable are features, arXiv:1411.1792, section 4; He, Girshick and Dollár, "
            "Rethinking ImageNet Pre-training, arXiv:1811.08883, section 1; the table above",
        ),
        Claim(
            "Only the last layer is trained.",
            "That is its quickest form (and Eyebright's --effort quick). Going on with all layers at a small learning "
            "rate, after the head, is usually better: see the last table.",
            "docs/bench.md, “Training”; Kornblith, Shlens and Le, Do Better ImageNet Models Transfer Better?, "
            "arXiv:1805.08974, section 4",
        ),
    ),
}  # fmt: skip

PAPER_DEPTHS = (
    "This is a short training on few images. In the paper, on CIFAR-10 and trained far longer, the residual network of "
    "56 layers has the lower test error (6.97 % against 8.75 % with 20 layers), and the plain one of 56 layers a "
    "higher training and test error than that of 20 (arXiv:1512.03385, table 6 and figure 6)."
)

STAGES = {
    "stage1": "edges and colours",
    "stage2": "corners and simple textures",
    "stage3": "textures and repeated patterns",
    "stage4": "parts of objects",
    "stage5": "larger parts, coarsely placed",
    "stem": "edges and colours",
    "layer1": "edges and simple textures, combined",
    "layer2": "textures and small shapes",
    "layer3": "parts of objects",
    "layer4": "larger parts and whole objects, coarsely placed",
}
"""What a stage's channels mostly answer to, after Zeiler and Fergus, arXiv:1311.2901, section 4."""
