#pragma once

namespace sy {

/// What an operation does to its result: puts it in place of what is there, which is not read, or adds it.
enum class Write { overwrite, add };

}  // namespace sy
