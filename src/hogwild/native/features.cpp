// What this library was made of, and whether this processor can run it. Compiled for any x86-64.

extern "C" {

__attribute__((visibility("default"))) const char* hogwild_sources() { return HOGWILD_SOURCES; }

__attribute__((visibility("default"))) int hogwild_supported() {
    __builtin_cpu_init();
#ifdef HOGWILD_AVX512
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vbmi") &&
           __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512vnni");
#else
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c") &&
           __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
#endif
}
}
