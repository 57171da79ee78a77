// SPDX-License-Identifier: Apache-2.0
#include "config/parser.h"

#include <algorithm>
#include <array>
#include <sstream>
#include <unordered_map>
#include <utility>

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include "base/text.h"

namespace dlt::config {

namespace {

/// Thrown by TreeBuilder through yaml-cpp: the text is not YAML as we take it.
struct NotYaml {
  std::size_t offset = 0;
  std::string message, hint;
};

/// A list or map whose end has not come yet.
struct Frame {
  Node node;
  std::string path;
  std::size_t offset = 0;
  bool flow = false;
  bool has_key = false;  // map: the key came, its value has not
  bool dropped = false;  // map: the key is a mistake, so its value is dropped
  std::string key;
  Mark key_mark;
  std::unordered_map<std::string, Mark> seen;  // keys and where they first stood
};

/// Builds our tree from yaml-cpp's events, which, unlike its nodes, show tags, anchors, aliases,
/// quotes and every duplicate key.
class TreeBuilder final : public YAML::EventHandler {
 public:
  TreeBuilder(SourceText& source, const ParseContext& context, Diagnostics& diagnostics)
      : source_(source), context_(context), diagnostics_(diagnostics) {}

  [[nodiscard]] std::optional<Node> take_root() { return std::move(root_); }
  /// The innermost [ or { that is still open.
  [[nodiscard]] std::optional<std::size_t> open_flow() const {
    if (frames_.empty() || !frames_.back().flow) return std::nullopt;
    return frames_.back().offset;
  }

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (++num_documents_ == 1) return;
    const std::size_t at = offset(mark);
    if (rest(at).substr(0, 3) == "---") {
      throw NotYaml{at, "a second document starts here, expected one", ""};
    }
    throw NotYaml{at, "expected the end of the file, got more text",
                  "is the indentation the same as that of the lines above?"};
  }
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const std::size_t at = offset(mark);
    check_properties(at, "", anchor);
    Node node;
    node.scalar = null_word(at);
    if (!node.scalar.empty()) {
      node.mark = source_.mark(at, num_chars(node.scalar));
    } else if (!frames_.empty()) {  // nothing is there: the mark is that of the next thing
      node.mark = frames_.back().has_key ? frames_.back().key_mark : frames_.back().node.mark;
    } else {
      node.mark = source_.mark(at);
    }
    add(std::move(node), "");
  }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    const std::size_t at = offset(mark);
    report_word(at, "aliases are not allowed");
    Node node;
    node.mark = source_.mark(at);
    add_after_mistake(std::move(node));
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    const std::size_t at = offset(mark);
    const bool clean = check_properties(at, tag, anchor);
    Node node;
    node.kind = Kind::scalar;
    node.scalar = value;
    node.quoted = tag == "!";
    node.mark = source_.mark(at, scalar_length(at, node));
    if (const auto bad = find_bad_char(value)) {
      diagnostics_.error(node.mark, value_path(),
                         cat("control characters are not allowed, got '", printable(value), "'"));
      add_after_mistake(std::move(node));
    } else if (!clean) {
      add_after_mistake(std::move(node));
    } else {
      add(std::move(node), value);
    }
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(Kind::sequence, offset(mark), tag, anchor);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(Kind::map, offset(mark), tag, anchor);
  }
  void OnMapEnd() override { close(); }

 private:
  [[nodiscard]] static std::size_t offset(const YAML::Mark& mark) {
    return mark.pos < 0 ? 0 : static_cast<std::size_t>(mark.pos);
  }
  [[nodiscard]] std::string_view rest(std::size_t at) const {
    const std::string_view text = source_.text();
    return text.substr(std::min(at, text.size()));
  }
  /// The text up to the next blank, comma or bracket.
  [[nodiscard]] std::string_view word(std::size_t at) const {
    const std::string_view text = rest(at).substr(0, 4096);
    return text.substr(0, text.find_first_of(" \t\n,[]{}"));
  }

  [[nodiscard]] std::string null_word(std::size_t at) const {
    std::string_view text = word(at);
    if (!text.empty() && text.back() == ':') text.remove_suffix(1);
    constexpr std::array<std::string_view, 4> kWords{"~", "null", "Null", "NULL"};
    const bool spelled = std::find(kWords.begin(), kWords.end(), text) != kWords.end();
    return spelled ? std::string(text) : std::string();
  }

  /// Characters to underline: what stands on the first line of the scalar.
  [[nodiscard]] int scalar_length(std::size_t at, const Node& node) const {
    const std::string_view text = rest(at);
    const char first = text.empty() ? ' ' : text[0];
    if (node.quoted && (first == '"' || first == '\'')) {
      return num_chars(text.substr(0, std::min(closing_quote(at) + 1, text.find('\n'))));
    }
    if (!node.quoted && text.substr(0, node.scalar.size()) == node.scalar) {
      return num_chars(node.scalar);
    }
    return 1;
  }

  /// Offset from `at` of the quote that ends the scalar which starts there.
  [[nodiscard]] std::size_t closing_quote(std::size_t at) const {
    const std::string_view text = rest(at);
    const char quote = text[0];
    for (std::size_t i = 1; i < text.size(); ++i) {
      if (quote == '"' && text[i] == '\\') {
        ++i;
      } else if (text[i] == quote) {
        if (quote == '"' || i + 1 == text.size() || text[i + 1] != quote) return i;
        ++i;  // '' is a quote inside
      }
    }
    throw NotYaml{at, "this quote is never closed", ""};  // yaml-cpp takes the end for a quote
  }

  /// Path of the value that comes next.
  [[nodiscard]] std::string value_path() const {
    if (frames_.empty()) return context_.path;
    const Frame& frame = frames_.back();
    if (frame.node.kind == Kind::sequence) {
      return join_path(frame.path, std::to_string(frame.node.items.size()));
    }
    return frame.has_key ? join_path(frame.path, frame.key) : frame.path;
  }

  void report_word(std::size_t at, const std::string& message) {
    const std::string_view text = word(at);
    diagnostics_.error(source_.mark(at, num_chars(text)), value_path(),
                       cat(message, ", got '", printable(text), "'"));
  }

  /// Whether the node has neither a tag nor an anchor.
  bool check_properties(std::size_t at, const std::string& tag, YAML::anchor_t anchor) {
    const bool bang = rest(at).substr(0, 1) == "!";  // a bare "!" looks like a quote
    if (anchor == 0 && !bang && (tag.empty() || tag == "?" || tag == "!")) return true;
    const bool tag_first = bang || anchor == 0;
    report_word(at, tag_first ? "tags are not allowed" : "anchors are not allowed");
    return false;
  }

  /// After a mistake in a key or value was reported: goes on so that no second one follows from it.
  void add_after_mistake(Node node) {
    if (expects_key()) {
      frames_.back().has_key = true;
      frames_.back().dropped = true;
      frames_.back().key.clear();
      frames_.back().key_mark = node.mark;
      return;
    }
    add(std::move(node), "");
  }

  [[nodiscard]] bool expects_key() const {
    return !frames_.empty() && frames_.back().node.kind == Kind::map && !frames_.back().has_key;
  }

  void add(Node node, const std::string& key) {
    if (frames_.empty()) {
      root_ = std::move(node);
      return;
    }
    Frame& frame = frames_.back();
    if (frame.node.kind == Kind::sequence) {
      frame.node.items.push_back(std::move(node));
    } else if (!frame.has_key) {
      add_key(frame, node, key);
    } else {
      frame.has_key = false;
      if (!frame.dropped) {
        frame.node.entries.push_back({std::move(frame.key), frame.key_mark, std::move(node)});
      }
      frame.dropped = false;
    }
  }

  void add_key(Frame& frame, const Node& node, const std::string& key) {
    std::string mistake;
    if (node.kind != Kind::scalar) {
      mistake = "expected text as a key, got " +
                std::string(node.kind == Kind::null ? "nothing" : "a list or map");
    } else if (!node.quoted && key == "<<") {
      mistake = "merge keys are not allowed, got '<<'";
    } else if (num_chars(key) > kMaxKeyChars) {
      mistake = cat("a key has at most ", kMaxKeyChars, " characters, got ", num_chars(key));
    } else {
      const auto [first, is_new] = frame.seen.try_emplace(key, node.mark);
      if (!is_new) {
        const Mark& mark = first->second;
        diagnostics_.error(node.mark, join_path(frame.path, key),
                           cat("duplicate key, the first is at ", printable(mark.source, 200), ":",
                               mark.line, ":", mark.column));
        frame.dropped = true;
      }
    }
    if (!mistake.empty()) {
      diagnostics_.error(node.mark, frame.path, mistake);
      frame.dropped = true;
    }
    frame.key = mistake.empty() ? key : "";
    frame.key_mark = node.mark;
    frame.has_key = true;
  }

  void open(Kind kind, std::size_t at, const std::string& tag, YAML::anchor_t anchor) {
    if (context_.depth + static_cast<int>(frames_.size()) >= kMaxDepth) {
      throw NotYaml{at, cat("lists and maps are nested deeper than ", kMaxDepth), ""};
    }
    check_properties(at, tag, anchor);
    Frame frame;
    frame.node.kind = kind;
    frame.node.mark = source_.mark(at);
    frame.path = value_path();
    frame.offset = at;
    const std::string_view first = rest(at).substr(0, 1);
    frame.flow = first == "[" || first == "{";
    frames_.push_back(std::move(frame));
  }

  void close() {
    Node node = std::move(frames_.back().node);
    frames_.pop_back();
    add(std::move(node), "");
  }

  SourceText& source_;
  const ParseContext& context_;
  Diagnostics& diagnostics_;
  std::vector<Frame> frames_;
  std::optional<Node> root_;
  int num_documents_ = 0;
};

/// Our words for a syntax error, by what yaml-cpp calls it and where it is.
NotYaml explain(const YAML::Exception& error, const TreeBuilder& builder,
                const SourceText& source) {
  namespace msg = YAML::ErrorMsg;
  const std::size_t size = source.text().size();
  const std::size_t offset =
      error.mark.pos < 0 ? 0 : std::min(static_cast<std::size_t>(error.mark.pos), size);
  const std::string_view line = source.line(offset);
  const std::size_t blank = line.find_first_not_of(' ');
  if (blank != std::string_view::npos && line[blank] == '\t') {
    return {offset, "a tab cannot indent, expected spaces", ""};
  }
  const std::string& what = error.msg;
  if (what == msg::END_OF_SEQ_FLOW || what == msg::END_OF_MAP_FLOW || what == msg::FLOW_END) {
    const bool at_end = source.text().find_first_not_of(" \t\n", offset) == std::string::npos;
    const auto open = builder.open_flow();
    if (open && at_end) return {*open, "this bracket is never closed", ""};
    if (what == msg::FLOW_END) return {offset, "this bracket was never opened", ""};
    return {offset, "expected ',' or a closing bracket", ""};
  }
  if (what == msg::MAP_VALUE) {
    return {offset, "this ':' is out of place",
            "is the line above complete (a space after its ':') and is the indentation right?"};
  }
  if (what == msg::MAP_KEY || what == msg::END_OF_MAP) {
    return {offset, "expected a key with the indentation of the keys above", ""};
  }
  if (what == msg::END_OF_SEQ || what == msg::BLOCK_ENTRY) {
    return {offset, "expected a list item '- ' with the indentation of the items above", ""};
  }
  if (what.rfind(msg::INVALID_ESCAPE, 0) == 0 || what == msg::INVALID_HEX ||
      what.rfind(msg::INVALID_UNICODE, 0) == 0) {
    return {offset, "no such escape in double quotes", "single quotes take '\\' as it is"};
  }
  if (what == msg::UNKNOWN_ANCHOR) return {offset, "aliases are not allowed", ""};
  if (what == msg::BAD_FILE) {
    return {offset, cat("lists and maps are nested deeper than ", kMaxDepth), ""};
  }
  if (what == msg::EOF_IN_SCALAR || what == msg::DOC_IN_SCALAR) {
    return {offset, "a quote above is never closed", ""};
  }
  if (what == msg::UNKNOWN_TOKEN) {
    return {offset, "a plain value cannot start with this character", "quote the value"};
  }
  return {offset, "this is not YAML", ""};
}

}  // namespace

std::string join_path(const std::string& path, const std::string& key) {
  return path.empty() ? key : cat(path, ".", key);
}

ParseResult parse_yaml(SourceText& source, const ParseContext& context, Diagnostics& diagnostics) {
  if (const auto bad = find_bad_char(source.text())) {
    diagnostics.error(source.mark(bad->offset), context.path,
                      bad->is_utf8
                          ? cat("control characters are not allowed, got '", bad->shown, "'")
                          : cat("expected UTF-8, got the byte '", bad->shown, "'"));
    return {std::nullopt, false};
  }
  TreeBuilder builder(source, context, diagnostics);
  NotYaml mistake;
  try {
    std::istringstream stream(source.text());
    YAML::Parser parser(stream);
    if (parser.HandleNextDocument(builder)) parser.HandleNextDocument(builder);
    return {builder.take_root(), true};
  } catch (const NotYaml& found) {
    mistake = found;
  } catch (const YAML::Exception& error) {
    mistake = explain(error, builder, source);
  }
  diagnostics.error(source.mark(mistake.offset), context.path, mistake.message, mistake.hint);
  return {std::nullopt, false};
}

}  // namespace dlt::config
