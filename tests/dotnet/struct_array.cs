// SPDX-License-Identifier: MIT
//
// A program that knows of a StructArray what docs/struct-arrays.md says: where the elements lie, and where the length.
//
//     FILE LOCK Show           prints the elements
//     FILE LOCK Raise HOW_OFTEN   adds 1 to both numbers of one element after the other, in their places

using System;
using System.IO;
using System.IO.MemoryMappedFiles;
using System.Threading;

struct Pair
{
    public long First;
    public short Small;
    public long Second;
    public byte End;
}

static class Program
{
    static int Main(string[] args)
    {
        using (MemoryMappedFile map = MemoryMappedFile.CreateFromFile(args[0], FileMode.Open))
        using (MemoryMappedViewAccessor view = map.CreateViewAccessor(0, new FileInfo(args[0]).Length))
        using (Mutex mutex = new Mutex(false, args[1]))
        {
            long control = view.ReadInt64(view.Capacity - 16);
            if (args[2] == "Show")
            {
                Acquire(mutex);
                Pair[] pairs = new Pair[view.ReadInt64(control + 64)];
                int read = view.ReadArray(0, pairs, 0, pairs.Length);
                mutex.ReleaseMutex();
                Console.WriteLine(read);
                foreach (Pair pair in pairs)
                    Console.WriteLine("{0} {1} {2} {3}", pair.First, pair.Small, pair.Second, pair.End);
                return 0;
            }
            long stride = view.ReadInt64(control + 24);
            for (int i = 0; i < int.Parse(args[3]); i++)
            {
                Acquire(mutex);
                long at = i % view.ReadInt64(control + 64) * stride;
                Pair pair;
                view.Read(at, out pair);
                pair.First++;
                pair.Second++;
                view.Write(at, ref pair);
                mutex.ReleaseMutex();
            }
            return 0;
        }
    }

    static void Acquire(Mutex mutex)
    {
        try
        {
            mutex.WaitOne();
        }
        catch (AbandonedMutexException)
        {
        }
    }
}
