// SPDX-License-Identifier: Apache-2.0
// The picture of a scaling plan, as plain SVG: no fonts, scripts or styles from elsewhere.
#include <algorithm>
#include <cmath>
#include <iomanip>
#include <sstream>

#include "base/text.h"
#include "train/scaling_plan.h"

namespace dlt::train {
namespace {

constexpr double kWidth = 920, kHeight = 390;
constexpr double kTop = 98, kBottom = 328;
constexpr const char* kInk = "#1f2933";
constexpr const char* kFaint = "#6b7785";
constexpr const char* kGrid = "#e3e8ee";
constexpr const char* kCompute = "#3b6ea8";
constexpr const char* kExposed = "#e07b39";
constexpr const char* kUpdate = "#8fb3d9";

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : printable(text)) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

/// A number as a label: three digits that count, or all before the point.
std::string label(double value) {
  std::ostringstream out;
  if (value >= 1000) out << std::fixed << std::setprecision(0);
  if (value < 1000) out << std::setprecision(3);
  out << value;
  return out.str();
}

struct Text {
  double size = 12;
  const char* anchor = "middle";
  const char* color = kFaint;
  bool bold = false;
};

class Svg {
 public:
  Svg() {
    out_ << std::fixed << std::setprecision(1);
    out_ << "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"" << kWidth << "\" height=\""
         << kHeight << "\" viewBox=\"0 0 " << kWidth << " " << kHeight
         << "\" font-family=\"system-ui, 'DejaVu Sans', Helvetica, Arial, sans-serif\">\n"
         << "<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n";
  }
  void text(double x, double y, const std::string& words, const Text& style) {
    out_ << "<text x=\"" << x << "\" y=\"" << y << "\" font-size=\"" << style.size
         << "\" text-anchor=\"" << style.anchor << "\" fill=\"" << style.color << "\""
         << (style.bold ? " font-weight=\"600\"" : "") << ">" << escaped(words) << "</text>\n";
  }
  void line(double x1, double y1, double x2, double y2, const char* color) {
    out_ << "<line x1=\"" << x1 << "\" y1=\"" << y1 << "\" x2=\"" << x2 << "\" y2=\"" << y2
         << "\" stroke=\"" << color << "\"/>\n";
  }
  void box(double x, double y, double width, double height, const char* color) {
    if (height <= 0) return;
    out_ << "<rect x=\"" << x << "\" y=\"" << y << "\" width=\"" << width << "\" height=\""
         << height << "\" fill=\"" << color << "\"/>\n";
  }
  void path(const std::vector<std::pair<double, double>>& points, const char* color) {
    out_ << "<polyline fill=\"none\" stroke-width=\"2.5\" stroke=\"" << color << "\" points=\"";
    for (const auto& [x, y] : points) out_ << x << "," << y << " ";
    out_ << "\"/>\n";
    for (const auto& [x, y] : points) {
      out_ << "<circle cx=\"" << x << "\" cy=\"" << y << "\" r=\"4\" fill=\"" << color << "\"/>\n";
    }
  }
  [[nodiscard]] std::string finish() {
    out_ << "</svg>\n";
    return out_.str();
  }

 private:
  std::ostringstream out_;
};

/// One of the two parts: places for the rows and a scale from 0 to `top`.
class Panel {
 public:
  Panel(Svg& svg, double left, double right, std::size_t count, double top)
      : svg_(svg), left_(left), right_(right), count_(count), top_(top) {}
  [[nodiscard]] double slot() const { return (right_ - left_) / static_cast<double>(count_); }
  [[nodiscard]] double x(std::size_t i) const {
    return left_ + slot() * (static_cast<double>(i) + 0.5);
  }
  [[nodiscard]] double y(double value) const { return kBottom - (kBottom - kTop) * value / top_; }
  void axes(const std::string& title, const std::vector<ScalingRow>& rows, double tick,
            const std::string& unit) {
    svg_.text(left_ - 34, kTop - 18, title,
              {.size = 13, .anchor = "start", .color = kInk, .bold = true});
    for (double v = 0; v <= top_ * 1.0001; v += tick) {
      svg_.line(left_, y(v), right_, y(v), v == 0 ? kFaint : kGrid);
      svg_.text(left_ - 8, y(v) + 4, label(v) + unit, {.size = 11, .anchor = "end"});
    }
    for (std::size_t i = 0; i < rows.size(); ++i) {
      svg_.text(x(i), kBottom + 18, std::to_string(rows[i].ranks), {.color = kInk});
    }
    svg_.text((left_ + right_) / 2, kBottom + 38, "ranks", {});
  }

 private:
  Svg& svg_;
  double left_, right_;
  std::size_t count_;
  double top_;
};

/// A round step of which four or five reach the value.
double tick_for(double value) {
  const double rough = value / 4;
  const double power = std::pow(10.0, std::floor(std::log10(rough)));
  for (const double factor : {1.0, 2.0, 2.5, 5.0}) {
    if (factor * power >= rough) return factor * power;
  }
  return 10 * power;
}

void legend(Svg& svg, double x, const char* color, const std::string& words) {
  svg.box(x, kHeight - 16, 10, 10, color);
  svg.text(x + 15, kHeight - 7, words, {.size = 11, .anchor = "start"});
}

void draw_times(Svg& svg, const std::vector<ScalingRow>& rows) {
  double longest = 0;
  for (const ScalingRow& row : rows) longest = std::max(longest, row.time.step_s * 1e3);
  const double tick = tick_for(longest);
  const double top = tick * std::ceil(longest / tick * 1.02);
  Panel panel(svg, 66, 450, rows.size(), top);
  panel.axes("Where a step's time goes, ms", rows, tick, "");
  const double width = std::min(56.0, panel.slot() * 0.62);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const ddp::Prediction& time = rows[i].time;
    const double left = panel.x(i) - width / 2;
    double from = 0;
    const auto part = [&](double ms, const char* color) {
      svg.box(left, panel.y(from + ms), width, panel.y(from) - panel.y(from + ms), color);
      from += ms;
    };
    part(time.compute_s * 1e3, kCompute);
    part((time.step_s - time.compute_s - time.exposed_s) * 1e3, kUpdate);
    part(time.exposed_s * 1e3, kExposed);
    svg.text(panel.x(i), panel.y(from) - 6, label(time.step_s * 1e3), {.size = 11, .color = kInk});
  }
  legend(svg, 66, kCompute, "forward and backward");
  legend(svg, 216, kUpdate, "update");
  legend(svg, 286, kExposed, "waiting for communication");
}

void draw_efficiency(Svg& svg, const std::vector<ScalingRow>& rows) {
  Panel panel(svg, 526, 896, rows.size(), 100);
  panel.axes("Efficiency", rows, 25, " %");
  std::vector<std::pair<double, double>> points;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    points.emplace_back(panel.x(i), panel.y(100 * std::min(1.0, rows[i].efficiency)));
  }
  svg.path(points, kCompute);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const bool high = rows[i].efficiency > 0.9;
    std::ostringstream words;
    words << std::fixed << std::setprecision(1) << rows[i].efficiency * 100 << " %";
    svg.text(points[i].first, points[i].second + (high ? 20 : -10), words.str(),
             {.size = 11, .color = kInk});
  }
}

}  // namespace

std::string scaling_svg(const ScalingPlan& plan) {
  Svg svg;
  svg.text(32, 28,
           plan.name + (plan.scaling == Scaling::weak ? ": weak scaling" : ": strong scaling"),
           {.size = 17, .anchor = "start", .color = kInk, .bold = true});
  svg.text(32, 47,
           cat(label(plan.bandwidth_gbps), " Gbit/s a host, latency ", label(plan.latency_us),
               " µs, ", counted(plan.ranks_per_host, "rank", "ranks"), " a host; ",
               plan.scaling == Scaling::weak
                   ? cat(plan.leaf_samples * plan.leaves_per_rank, " samples a rank")
                   : cat("a batch of ", plan.rows.front().global_batch_size)),
           {.anchor = "start"});
  draw_times(svg, plan.rows);
  draw_efficiency(svg, plan.rows);
  return svg.finish();
}

}  // namespace dlt::train
