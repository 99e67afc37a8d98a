"""Trains the digits networks and writes two .tflite files and digits_test.npz beside this file.

    pip install 'microtvm[train]'
    python examples/digits/train.py

The data are the 1,797 scanned digits of 8x8 pixels with 17 grey levels that scikit-learn carries
(Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998). A fifth of them is
held out, the same one every time, and never seen in training, nor in choosing the quantisation.

The network has one of each of what small vision networks are made of: convolution, depthwise and
pointwise convolution, a residual connection, average pools, a fully connected layer and softmax.
The files are integers from end to end: inputs and outputs are int8. digits_small_int8 is the same
with a third of the channels, for boards of a few kilobytes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# Before TensorFlow is imported: results must not depend on the host's vector units.
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"

import flatbuffers
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

FOLDER = Path(__file__).resolve().parent
TEST = FOLDER / "digits_test.npz"

SEED = 8
HELD_OUT = 360
EPOCHS = 60
GREY_LEVELS = 16.0


@dataclass(frozen=True)
class Size:
    """One of the networks: its file, channels of its first and its last convolution."""

    name: str
    stem: int
    features: int
    min_accuracy: float


SIZES = (Size("digits", 24, 32, 0.97), Size("digits_small", 8, 16, 0.94))

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.uint8]


def split() -> tuple[Images, Labels, Images, Labels, npt.NDArray[np.int64]]:
    """Training images and labels, held-out ones, and the latter's positions in the data set.

    Images are uint8 [n, 8, 8] from 0 to 16, labels uint8 [n].
    """
    data = load_digits()
    images = data.images.astype(np.uint8)
    labels = data.target.astype(np.uint8)
    train, test = train_test_split(
        np.arange(len(labels)), test_size=HELD_OUT, random_state=SEED, stratify=labels
    )
    return images[train], labels[train], images[test], labels[test], test


def scaled(images: Images) -> npt.NDArray[np.float32]:
    """Float32 [n, 8, 8, 1] from 0 to 1: what the network was trained on."""
    return (images[..., np.newaxis] / GREY_LEVELS).astype(np.float32)


def shifted(images: Images) -> Iterator[Images]:
    """The images, and the same moved by a pixel in each of the four directions."""
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    for top, left in ((1, 1), (0, 1), (2, 1), (1, 0), (1, 2)):
        yield padded[:, top : top + 8, left : left + 8]


def network(size: Size, batch_size: int | None = None) -> tf.keras.Model:
    """About 9,300 parameters and 181,000 multiplications an image; 2,000 and 32,000 if small."""
    layers = tf.keras.layers
    image = layers.Input((8, 8, 1), batch_size, name="image")
    stem = layers.Conv2D(size.stem, 3, padding="same", activation="relu", name="stem")(image)
    x = layers.DepthwiseConv2D(3, padding="same", activation="relu", name="depthwise")(stem)
    x = layers.Conv2D(size.stem, 1, name="pointwise")(x)
    x = layers.Add(name="residual")([x, stem])
    x = layers.ReLU(name="activation")(x)
    x = layers.AveragePooling2D(2, name="half")(x)
    x = layers.Conv2D(size.features, 3, padding="same", activation="relu", name="features")(x)
    x = layers.AveragePooling2D(2, name="pool")(x)
    x = layers.Flatten(name="flat")(x)
    x = layers.Dropout(0.3, name="dropout")(x)
    x = layers.Dense(10, name="scores")(x)
    return tf.keras.Model(image, layers.Softmax(name="digit")(x), name=size.name)


def trained(size: Size, images: Images, labels: Labels) -> tf.keras.Model:
    """The network after training on the images and their shifted copies."""
    model = network(size)
    schedule = tf.keras.optimizers.schedules.CosineDecay(
        2e-3, decay_steps=EPOCHS * (5 * len(images) // 64)
    )
    model.compile(tf.keras.optimizers.Adam(schedule), "sparse_categorical_crossentropy")
    many = scaled(np.concatenate(list(shifted(images))))
    model.fit(many, np.tile(labels, 5), batch_size=64, epochs=EPOCHS, verbose=2)
    return model


def quantised(size: Size, model: tf.keras.Model, images: Images) -> bytes:
    """The model as an int8 TFLite file for one image at a time; ranges come from `images`."""
    single = network(size, batch_size=1)
    single.set_weights(model.get_weights())
    converter = tf.lite.TFLiteConverter.from_keras_model(single)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([image[np.newaxis]] for image in scaled(images))
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.int8
    converter.inference_output_type = tf.int8
    return named(bytes(converter.convert()))


def named(model: bytes) -> bytes:
    """The file with input and output named `image` and `scores`, not as the converter does."""
    tree = schema.ModelT.InitFromPackedBuf(model)
    graph = tree.subgraphs[0]
    graph.tensors[graph.inputs[0]].name = b"image"
    graph.tensors[graph.outputs[0]].name = b"scores"
    builder = flatbuffers.Builder(len(model))
    builder.Finish(tree.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def accuracy(model: bytes, images: Images, labels: Labels) -> float:
    """Share of images whose highest score, by LiteRT's reference kernels, is their label."""
    interpreter = Interpreter(
        model_content=model, experimental_op_resolver_type=OpResolverType.BUILTIN_REF
    )
    interpreter.allocate_tensors()
    (source,) = interpreter.get_input_details()
    (target,) = interpreter.get_output_details()
    scale, zero_point = source["quantization"]
    hits = 0
    for image, label in zip(scaled(images), labels, strict=True):
        value = np.clip(np.round(image / np.float32(scale)) + zero_point, -128, 127)
        interpreter.set_tensor(source["index"], value[np.newaxis].astype(np.int8))
        interpreter.invoke()
        hits += int(interpreter.get_tensor(target["index"])[0].argmax() == label)
    return hits / len(labels)


def main() -> None:
    """Train, quantise, measure; write a network's file only if it is good enough."""
    train_images, train_labels, test_images, test_labels, positions = split()
    for size in SIZES:
        tf.keras.utils.set_random_seed(SEED)
        tf.config.experimental.enable_op_determinism()
        floats = trained(size, train_images, train_labels)
        guesses = floats.predict(scaled(test_images), verbose=0).argmax(axis=1)
        model = quantised(size, floats, train_images)
        reached = accuracy(model, test_images, test_labels)
        print(f"{size.name}: {len(model):,} bytes, {len(test_labels)} held-out digits:")
        print(f"right in float32 {(guesses == test_labels).mean():.2%}, in int8 {reached:.2%}")
        if reached < size.min_accuracy:
            raise SystemExit(f"less than {size.min_accuracy:.0%}: it is not written")
        (FOLDER / f"{size.name}_int8.tflite").write_bytes(model)
    np.savez_compressed(TEST, images=test_images, labels=test_labels, positions=positions)


if __name__ == "__main__":
    main()
