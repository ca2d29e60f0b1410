"""Images of every kind that this machine's tools write, decoded by dn_dist and by PIL.

    images.py IMAGE_TO_PPM FOLDER

Whole images have PIL's pixels; resized parts are within one level of PIL's, since both round twice.
Damaged and refused files end in one line and status 1.
"""
import io
import pathlib
import struct
import subprocess
import sys
import zlib

import numpy
from PIL import Image

program, folder = sys.argv[1], pathlib.Path(sys.argv[2])
failures = 0


def check(condition, message):
    global failures
    if not condition:
        print("FAILED:", message)
        failures += 1


def run(path, *arguments):
    return subprocess.run([program, path, *map(str, arguments)], capture_output=True)


def decode(path, *arguments):
    done = run(path, *arguments)
    if done.returncode != 0:
        check(False, f"{path.name}: {done.stderr.decode()}")
        return None
    return numpy.asarray(Image.open(io.BytesIO(done.stdout))).astype(int)


def picture(width, height, channels, seed):
    """Gradients and noise, so that no two pixels or channels are alike."""
    noise = numpy.random.default_rng(seed).integers(0, 60, (height, width, channels))
    y, x = numpy.mgrid[:height, :width]
    slopes = numpy.stack([x * (c + 1) + y * (3 - c) for c in range(channels)], axis=2)
    return ((slopes + noise) % 256).astype(numpy.uint8)


def save(name, image, **options):
    path = folder / name
    image.save(path, **options)
    return path


def write(name, content):
    path = folder / name
    path.write_bytes(content)
    return path


def jpeg(image, **options):
    made = io.BytesIO()
    image.save(made, "JPEG", **options)
    return made.getvalue()


def chunk(kind, content):
    return (struct.pack(">I", len(content)) + kind + content +
            struct.pack(">I", zlib.crc32(kind + content)))


def png(name, values, kind, bits, *chunks, interlaced=False):
    """What PIL does not write: values(height, width, channels) of 8 or 16 bits."""
    starts = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2),
              (0, 1, 1, 2)] if interlaced else [(0, 0, 1, 1)]
    passes = [values[top::down, left::right] for left, top, right, down in starts]
    rows = b"".join(b"\0" + row.tobytes() for part in passes if part.size for row in part)
    head = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], bits, kind, 0, 0, interlaced)
    return write(name, b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + b"".join(chunks) +
                 chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


rgb = Image.fromarray(picture(97, 61, 3, 1))
cmyk = Image.fromarray(picture(97, 61, 4, 2), "CMYK")
grey = rgb.convert("L")
palette = rgb.quantize(200)
files = [
    save("rgb.jpg", rgb), save("444.jpg", rgb, quality=95, subsampling=0),
    save("422.jpg", rgb, subsampling=1), save("progressive.jpg", rgb, progressive=True),
    save("grey.jpg", grey), save("cmyk.jpg", cmyk), save("wrong_name.png", rgb, format="JPEG"),
    save("restart.jpg", rgb, restart_marker_blocks=3),
    save("rgb.png", rgb), save("grey.png", grey), save("bit.png", grey.convert("1")),
    save("palette.png", palette), save("palette2.png", rgb.quantize(3)),
    save("palette16.png", rgb.quantize(13)),
    save("transparent.png", palette, transparency=3),
    save("rgba.png", Image.fromarray(picture(97, 61, 4, 3), "RGBA")),
    save("la.png", Image.fromarray(picture(97, 61, 2, 4), "LA")),
    save("colour_key.png", rgb, transparency=(10, 20, 30)),
    save("dot.png", Image.fromarray(picture(1, 1, 3, 5))),
    save("dot.jpg", Image.fromarray(picture(1, 1, 3, 5))),
    write("trailing.jpg", jpeg(rgb) + b"bytes after the end" * 50),
    write("thumbnail.jpg", jpeg(rgb, exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0" + jpeg(grey))),
    # Adobe's marker says how the components are to be read: as YCCK, as RGB
    write("ycck.jpg", jpeg(cmyk).replace(b"Adobe\0d\0\0\0\0\0", b"Adobe\0d\0\0\0\0\2", 1)),
    write("adobe_rgb.jpg", b"\xff\xd8" + b"\xff\xee\0\x0eAdobe\0d\0\0\0\0\0" + jpeg(rgb)[20:]),
    png("rgb16.png", picture(41, 33, 3, 9).astype(">u2") * 257 + 3, 2, 16),
    png("rgba16_interlaced.png", picture(41, 33, 4, 10).astype(">u2") * 200, 6, 16, interlaced=True),
    png("interlaced.png", picture(97, 61, 3, 11), 2, 8, interlaced=True),
    png("palette_key.png", picture(40, 30, 1, 12) % 3, 3, 8, chunk(b"PLTE", bytes(range(9))),
        chunk(b"tRNS", b"\0\x80")),
    png("gamma.png", picture(40, 30, 3, 13), 2, 8, chunk(b"gAMA", struct.pack(">I", 100000))),
    save("animated.png", rgb, save_all=True, append_images=[rgb.rotate(180)]),
    save("thin.jpg", Image.fromarray(picture(1, 9000, 3, 14))),
    save("flat.png", Image.fromarray(picture(9000, 1, 3, 15))),
]
for path in files:
    found, expected = decode(path), numpy.asarray(Image.open(path).convert("RGB")).astype(int)
    check(found is not None and found.shape == expected.shape and (found == expected).all(),
          f"{path.name}: other pixels than PIL's")

deep = picture(40, 30, 1, 6)[:, :, 0].astype(numpy.uint16) * 256 + 77
path = save("grey16.png", Image.fromarray(deep))
check((decode(path) == (deep >> 8)[:, :, None]).all(), "grey16.png: not the high bytes")

draw = numpy.random.default_rng(7)
large = save("large.jpg", Image.fromarray(picture(90, 70, 3, 8)).resize((900, 700), Image.BICUBIC))
for path, image in [(f, Image.open(f).convert("RGB")) for f in [large, *files] if min(Image.open(f).size) > 3]:
    for _ in range(5):
        width, height = (int(draw.integers(s // 3, s + 1)) for s in image.size)
        left, top = (int(draw.integers(0, s - t + 1)) for s, t in zip(image.size, (width, height)))
        part = image.crop((left, top, left + width, top + height))
        expected = numpy.asarray(part.resize((50, 40), Image.BILINEAR)).astype(int)
        found = decode(path, left, top, width, height, 50, 40, 1)
        # libjpeg interpolates chroma at a cut's edge from one side alone
        exact = Image.open(path).format == "PNG" or "444" in path.name or "grey" in path.name
        limit = 1 if exact else 16
        difference = numpy.abs(found - expected)
        check(difference.max() <= limit and difference.mean() < 0.5,
              f"{path.name}, {width}x{height}+{left}+{top}: {difference.max()} levels off, "
              f"{difference.mean():.3f} on average")

for size in (100, 60, 30):  # scaled down by 7, 11 and 23
    expected = numpy.asarray(Image.open(large).resize((size, size), Image.BILINEAR)).astype(int)
    difference = numpy.abs(decode(large, 0, 0, 900, 700, size, size, 700 / size) - expected)
    check(difference.mean() < 1, f"{large.name} at {size}: {difference.mean():.3f} on average")

whole = (folder / "rgb.jpg").read_bytes()
png_bytes = (folder / "rgb.png").read_bytes()
progressive = (folder / "progressive.jpg").read_bytes()
scan = progressive.index(b"\xff\xda")
next_scan = progressive.index(b"\xff\xda", scan + 2)
bad = {
    "empty": b"", "text": b"not an image at all", "short.jpg": whole[:len(whole) // 2],
    "head.jpg": whole[:30], "short.png": png_bytes[:len(png_bytes) // 2], "crc.png": png_bytes[:100] + b"\xff" + png_bytes[101:],
    "jpeg_magic": b"\xff\xd8\xff", "png_magic": png_bytes[:8],
    "huge.png": png_bytes[:16] + b"\x00\x00\xff\xff\x00\x00\xff\xff" + png_bytes[24:],
    "arithmetic.jpg": whole.replace(b"\xff\xc0", b"\xff\xc9", 1),
    "twelve.jpg": whole.replace(b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x0c", 1),
    "lossless.jpg": whole.replace(b"\xff\xc0", b"\xff\xc3", 1),
    "endless.jpg": progressive[:scan] + progressive[scan:next_scan] * 1000 + progressive[next_scan:],
    "large.jpg": whole.replace(struct.pack(">HH", 61, 97), struct.pack(">HH", 65500, 65500), 1),
    "no_end.jpg": whole[:-2], "no_end.png": png_bytes[:-12],
}
named = {"arithmetic.jpg": "arithmetic-coded", "twelve.jpg": "12 bits", "endless.jpg": "500 scans",
         "lossless.jpg": "SOF type 0xc3", "large.jpg": "65500 x 65500", "no_end.jpg": "ends too early"}
for name, content in bad.items():
    path = folder / name
    path.write_bytes(content)
    done = run(path)
    check(done.returncode == 1 and done.stderr.decode().startswith(str(path)) and
          done.stderr.count(b"\n") == 1 and named.get(name, "") in done.stderr.decode(), f"{name}: status {done.returncode}, {done.stderr.decode()!r}")

print(f"{len(files)} kinds of images, {len(bad)} bad files, {failures} failures")
sys.exit(failures > 0)
