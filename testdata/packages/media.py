"""Pictures, language and trained models."""

import io


def pillow():
    """resizes a picture and encodes it as JPEG, PNG and WebP"""
    from PIL import Image, ImageDraw

    picture = Image.new("RGB", (640, 480), "white")
    ImageDraw.Draw(picture).ellipse((100, 100, 500, 400), fill="red")
    small = picture.resize((64, 48), Image.Resampling.LANCZOS)
    for kind in ("JPEG", "PNG", "WEBP"):
        out = io.BytesIO()
        small.save(out, kind)
        again = Image.open(io.BytesIO(out.getvalue())).convert("RGB")
        assert again.size == (64, 48) and again.getpixel((30, 24))[0] > 240, kind


def opencv_python_headless():
    """finds the edges of a resized picture and decodes it from PNG"""
    import cv2
    import numpy as np

    picture = np.zeros((480, 640, 3), np.uint8)
    cv2.rectangle(picture, (200, 100), (400, 300), (255, 255, 255), -1)
    small = cv2.resize(cv2.GaussianBlur(picture, (5, 5), 0), (160, 120), interpolation=cv2.INTER_AREA)
    done, png = cv2.imencode(".png", cv2.Canny(small, 50, 150))
    edges = cv2.imdecode(png, cv2.IMREAD_GRAYSCALE)
    assert done and edges.shape == (120, 160) and 150 < (edges > 0).sum() < 400, (edges > 0).sum()


def _model():
    import onnx
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Relu", ["h"], ["y"])],
        "layer",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 2])],
        [helper.make_tensor("w", TensorProto.FLOAT, [2, 2], [1, -1, 2, -2])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return model


def onnx():
    """builds, checks and serialises a model of one layer"""
    import onnx as package

    model = package.load_from_string(_model().SerializeToString())
    assert [node.op_type for node in model.graph.node] == ["MatMul", "Relu"]


def onnxruntime():
    """runs that model on its own threads"""
    import numpy as np
    import onnxruntime as ort

    session = ort.InferenceSession(_model().SerializeToString(), providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {"x": np.array([[1, 2], [-1, -2]], np.float32)})
    assert y.tolist() == [[5, 0], [0, 5]], y


def tiktoken():
    """encodes and decodes text with a vocabulary of its own"""
    from tiktoken import Encoding

    ranks = {bytes([byte]): byte for byte in range(256)} | {b"he": 256, b"ll": 257, b"hell": 258, b"hello": 259}
    encoding = Encoding("small", pat_str=r"\w+|\W+", mergeable_ranks=ranks, special_tokens={"<end>": 260})
    tokens = encoding.encode("hello hell<end>", allowed_special="all")
    assert tokens == [259, 32, 258, 260] and encoding.decode(tokens) == "hello hell<end>", tokens


def nltk():
    """splits a sentence into words, reduces them to stems and counts pairs"""
    from nltk import FreqDist, bigrams
    from nltk.stem import PorterStemmer
    from nltk.tokenize import TreebankWordTokenizer

    words = TreebankWordTokenizer().tokenize("They don't run; running runners ran and ran.")
    assert words[:4] == ["They", "do", "n't", "run"], words
    assert [PorterStemmer().stem(word) for word in ("running", "flies")] == ["run", "fli"]
    assert FreqDist(bigrams(words))["run", ";"] == 1


def qrcode():
    """draws a QR code as PNG and as SVG"""
    import qrcode as package
    import qrcode.image.svg

    out = io.BytesIO()
    package.make("https://example.org/").save(out)
    assert out.getvalue().startswith(b"\x89PNG")
    svg = package.make("https://example.org/", image_factory=package.image.svg.SvgPathImage)
    assert b"<path" in svg.to_string()
