// Scratch memory that a thread keeps from call to call, handed out in pieces that begin with a cache line.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace {

struct Arena {
    std::vector<char> memory;
    char* next = nullptr;
    void reserve(size_t bytes) {
        if (memory.size() < bytes + 64) memory.resize(bytes + 64);
        next = (char*)((uintptr_t(memory.data()) + 63) & ~uintptr_t(63));
    }
    template <class T>
    T* take(size_t count) {
        T* found = (T*)next;
        next += (count * sizeof(T) + 63) & ~size_t(63);
        return found;
    }
};

}  // namespace
