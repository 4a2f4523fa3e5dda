// SPDX-License-Identifier: MIT
//
// The program of "Memory Mapping", IPC Communication Example, Linux. What was changed is said where it is.

using System;
using System.IO; // Changed: was implied
using System.IO.MemoryMappedFiles;
using System.Threading;

namespace SharedMemory // Changed: braces and `using (...)` in place of C# 8 to 10's, here and below
{
    public class Program
    {
        private static string ShmFile = "/dev/shm/shared_memory.shm";
        private const string MutexName = @"Global\shared_memory_mutex"; // Changed: "\s" is no escape, needs the @

        public static void Main(string[] args)
        {
            if (args.Length == 2) // Changed: another file may be given
                ShmFile = args[1];
            if (args.Length > 0 && args[0] == "writer") // Changed: `args is ["writer"]` is C# 11
            {
                Writer();
            }
            else if (args.Length > 0 && args[0] == "reader")
            {
                Reader();
            }
            else
            {
                Usage();
            }
        }

        public static void Usage()
        {
            Console.WriteLine($"{Environment.GetCommandLineArgs()[0]} [reader|writer]");
            Environment.Exit(-1);
        }

        public static void Writer()
        {
            using (Mutex mutex = new Mutex(true, MutexName))
            using (var mmf = MemoryMappedFile.CreateFromFile(ShmFile, FileMode.Create, null, 2000))
            using (var accessor = mmf.CreateViewAccessor())
            {
                for (int i = 0; i < 500; i++)
                {
                    accessor.Write(i * sizeof(int), i * i);
                }
                mutex.ReleaseMutex();
                Console.WriteLine("written; press Enter to end"); // Changed: it said nothing
                Console.ReadLine();
            }
        }

        public static void Reader()
        {
            Mutex mutex = Mutex.OpenExisting(MutexName);
            mutex.WaitOne();
            using (var mmf = MemoryMappedFile.CreateFromFile(ShmFile, FileMode.Open))
            using (var accessor = mmf.CreateViewAccessor())
            {
                for (int i = 0; i < 500; i++)
                {
                    int num = accessor.ReadInt32(i * sizeof(int));
                    Console.WriteLine(num);
                }
                mutex.ReleaseMutex();
            }
        }
    }
}
