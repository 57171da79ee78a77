// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace dlt::launcher {

/// From now on SIGUSR2 makes this process write what each of its threads is doing to this file (a
/// new one each time, complete once it is there), and go on. "": it does nothing. Works whatever
/// the threads are doing; a thread that blocks the signal is named as such.
/// header  the file's first line
void write_stacks_on_signal(const std::string& path, const std::string& header);

}  // namespace dlt::launcher
