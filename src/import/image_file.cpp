// SPDX-License-Identifier: Apache-2.0
#include "import/image_file.h"

#include <algorithm>
#include <charconv>
#include <csetjmp>
#include <cstdio>
#include <string_view>

#include <jpeglib.h>
#include <png.h>

#include "base/error.h"
#include "base/fs.h"
#include "base/text.h"

namespace dlt::import_ {
namespace {

constexpr std::int64_t kMaxPixels = std::int64_t{1} << 28;
constexpr std::uint64_t kMaxFile_bytes = std::uint64_t{1} << 31;

[[noreturn]] void refuse(const std::string& path, const std::string& what) {
  throw Error(Exit::data, cat(printable(path, 200), ": ", what));
}

void check_size(const std::string& path, std::int64_t height, std::int64_t width) {
  if (height < 1 || width < 1 || height > kMaxPixels / width) {
    refuse(path, cat("an image of ", height, " x ", width, ", expected 1 to 2^28 pixels"));
  }
}

Image rgb_image(std::int64_t height, std::int64_t width) {
  Image out{.height = height, .width = width, .channels = 3, .pixels = {}};
  out.pixels.resize(static_cast<std::size_t>(3 * height * width));
  return out;
}

Image read_png(const std::string& path, const std::string& bytes) {
  png_image png{};
  png.version = PNG_IMAGE_VERSION;
  struct Freed {
    png_image* image;
    ~Freed() { png_image_free(image); }
  } freed{&png};
  const auto fail = [&] { refuse(path, cat("damaged PNG: ", printable(png.message))); };
  if (png_image_begin_read_from_memory(&png, bytes.data(), bytes.size()) == 0) fail();
  check_size(path, png.height, png.width);
  png.flags |= PNG_IMAGE_FLAG_16BIT_sRGB;  // 16 bits are as bright as 8
  png.format = PNG_FORMAT_RGBA;            // dropping alpha later keeps what lies under it
  std::vector<std::uint8_t> pixels(PNG_IMAGE_SIZE(png));
  if (png_image_finish_read(&png, nullptr, pixels.data(), 0, nullptr) == 0) fail();
  Image out = rgb_image(png.height, png.width);
  for (std::size_t i = 0; 4 * i < pixels.size(); ++i) {
    for (std::size_t c = 0; c < 3; ++c) out.pixels[3 * i + c] = pixels[4 * i + c];
  }
  return out;
}

/// libjpeg's way out of an error: back to where reading began.
struct JpegErrors {
  jpeg_error_mgr manager{};  // first, so that libjpeg's pointer to it is one to all of this
  std::jmp_buf back{};
  char message[JMSG_LENGTH_MAX] = {};
};

void leave_jpeg(j_common_ptr info) {
  auto* errors = reinterpret_cast<JpegErrors*>(info->err);
  info->err->format_message(info, errors->message);
  std::longjmp(errors->back, 1);
}

/// A warning (bytes that are missing or wrong) would be filled up with grey.
void warn_jpeg(j_common_ptr info, int level) {
  if (level < 0) leave_jpeg(info);
}

/// Reads the header, then, given the memory for it, the pixels. Holds nothing that a longjmp would
/// leave behind.
bool decode_jpeg(jpeg_decompress_struct& jpeg, JpegErrors& errors, const std::string& bytes,
                 Image* out) {
  if (setjmp(errors.back) != 0) return false;
  if (out == nullptr) {
    jpeg_create_decompress(&jpeg);
    jpeg_mem_src(&jpeg, reinterpret_cast<const unsigned char*>(bytes.data()),
                 static_cast<unsigned long>(bytes.size()));
    jpeg_read_header(&jpeg, TRUE);
    return true;
  }
  jpeg.out_color_space = JCS_RGB;
  jpeg_start_decompress(&jpeg);
  while (jpeg.output_scanline < jpeg.output_height) {
    JSAMPROW row = out->pixels.data() + std::size_t{3} * jpeg.output_scanline * jpeg.output_width;
    jpeg_read_scanlines(&jpeg, &row, 1);
  }
  jpeg_finish_decompress(&jpeg);
  return true;
}

Image read_jpeg(const std::string& path, const std::string& bytes) {
  jpeg_decompress_struct jpeg{};
  JpegErrors errors;
  jpeg.err = jpeg_std_error(&errors.manager);
  errors.manager.error_exit = leave_jpeg;
  errors.manager.emit_message = warn_jpeg;
  struct Destroyed {
    jpeg_decompress_struct* jpeg;
    ~Destroyed() { jpeg_destroy_decompress(jpeg); }
  } destroyed{&jpeg};
  const auto fail = [&] { refuse(path, cat("damaged JPEG: ", printable(errors.message))); };
  if (!decode_jpeg(jpeg, errors, bytes, nullptr)) fail();
  check_size(path, jpeg.image_height, jpeg.image_width);
  Image out = rgb_image(jpeg.image_height, jpeg.image_width);
  if (!decode_jpeg(jpeg, errors, bytes, &out)) fail();
  return out;
}

/// The next number of a PNM header; '#' begins a comment. -1 if there is none.
std::int64_t next_number(std::string_view text, std::size_t& at) {
  const auto blank = [](char c) { return c == ' ' || (c >= '\t' && c <= '\r'); };
  while (at < text.size() && (blank(text[at]) || text[at] == '#')) {
    at = text[at] == '#' ? std::min(text.find('\n', at), text.size()) : at + 1;
  }
  std::int64_t out = -1;
  const auto [end, error] = std::from_chars(text.data() + at, text.data() + text.size(), out);
  at = static_cast<std::size_t>(end - text.data());
  return error == std::errc() ? out : -1;
}

Image read_pnm(const std::string& path, const std::string& bytes) {
  const bool colour = bytes[1] == '6';
  std::size_t at = 2;
  const std::int64_t width = next_number(bytes, at), height = next_number(bytes, at);
  const std::int64_t largest = next_number(bytes, at);
  check_size(path, height, width);
  if (largest < 1 || largest > 65535) {
    refuse(path, cat("a largest value of ", largest, ", expected 1 to 65535"));
  }
  ++at;  // one blank
  const std::size_t channels = colour ? 3 : 1, width_bytes = largest > 255 ? 2 : 1;
  Image out = rgb_image(height, width);
  const std::size_t numbers = out.pixels.size() / 3 * channels;
  if (at > bytes.size() || bytes.size() - at < numbers * width_bytes) {
    refuse(path, cat("cut short: expected ", numbers * width_bytes, " bytes of pixels, got ",
                     bytes.size() - std::min(at, bytes.size())));
  }
  const auto number = [&](std::size_t i) {
    std::int64_t value = static_cast<unsigned char>(bytes[at + i * width_bytes]);
    if (width_bytes == 2) {
      value = value * 256 + static_cast<unsigned char>(bytes[at + i * width_bytes + 1]);
    }
    return static_cast<std::uint8_t>((std::min(value, largest) * 255 + largest / 2) / largest);
  };
  for (std::size_t i = 0; i < out.pixels.size(); ++i) {
    out.pixels[i] = number(colour ? i : i / 3);
  }
  return out;
}

Image grey(const Image& rgb) {
  Image out{.height = rgb.height, .width = rgb.width, .channels = 1, .pixels = {}};
  out.pixels.resize(rgb.pixels.size() / 3);
  for (std::size_t i = 0; i < out.pixels.size(); ++i) {
    const std::uint32_t sum =
        19595U * rgb.pixels[3 * i] + 38470U * rgb.pixels[3 * i + 1] + 7471U * rgb.pixels[3 * i + 2];
    out.pixels[i] = static_cast<std::uint8_t>((sum + 0x8000U) >> 16);
  }
  return out;
}

}  // namespace

Image read_image(const std::string& path, Colour colour) {
  const std::string bytes = read_file(path, {.max_bytes = kMaxFile_bytes});
  Image out;
  if (bytes.starts_with("\x89PNG")) {
    out = read_png(path, bytes);
  } else if (bytes.starts_with("\xff\xd8\xff")) {
    out = read_jpeg(path, bytes);
  } else if (bytes.starts_with("P5") || bytes.starts_with("P6")) {
    out = read_pnm(path, bytes);
  } else {
    refuse(path, "expected a PNG, JPEG, or binary PGM or PPM image, got something else");
  }
  return colour == Colour::grey ? grey(out) : out;
}

}  // namespace dlt::import_
